--- An Apache Kafka broker of a test's own (KRaft, one process), fetched from Maven Central on first use. A test that cannot have
--- one fails.
local s = require "support"

local M = {}
local Broker = {}
Broker.__index = Broker

local home = s.root .. "/build/kafka"

local function fetch()
  if s.read(home .. "/ready") ~= "" then return end
  local code, out, err = s.run({
    "mvn",
    "-q",
    "-B",
    "-f",
    s.root .. "/examples/kafka-fraud/pom.xml",
    "-DbuildDirectory=" .. home .. "/target",
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    "-DoutputDirectory=" .. home .. "/jars",
  }, nil, 300)
  assert(code == 0, "Kafka cannot be fetched: " .. out .. err)
  s.write(home .. "/ready", "yes\n")
end

local function java(class, ...)
  return {
    "java",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    home .. "/jars/*",
    class,
    ...,
  }
end

--- Lines for `produce`: events from..to, each with its key of so many.
function M.events(from, to, keys)
  local lines = {}
  for n = from, to do
    local k = "k" .. n % keys
    lines[#lines + 1] = ('%s:{"k":"%s","n":%d}'):format(k, k, n)
  end
  return lines
end

--- A text with %NAME% replaced.
function M.fill(text, values) return (text:gsub("%%(%u+)%%", values)) end

--- Starts it again, at the same address with what it has.
function Broker:restart()
  self.process = s.start(java("kafka.Kafka", self.config))
  s.eventually(function()
    if self.process:poll() then error("Kafka ended: " .. self.process:stdout() .. self.process:stderr(), 0) end
    return self:kcat("-L", "-m", "1") == 0
  end, 60, function() return "Kafka starts: " .. self.process:stdout() .. self.process:stderr() end)
end

--- Runs kcat at the broker; code, output.
function Broker:kcat(...) return s.run({ "kcat", "-b", self.address, ... }, nil, 60) end

--- Puts lines into a topic, each once, which is made where it is missing: "key:value" with `keys`.
function Broker:produce(topic, lines, keys, ...)
  local path = s.folder() .. "/lines"
  s.write(path, table.concat(lines, "\n") .. "\n")
  local argv = { "kcat", "-b", self.address, "-P", "-t", topic, "-X", "partitioner=murmur2_random", "-X", "enable.idempotence=true", ... }
  if keys then argv[#argv + 1] = "-K:" end
  local code, _, err = s.run(argv, { stdin = path }, 60)
  assert(code == 0, err)
end

--- Puts lines "key:value" into a topic in so many portions, one after the other, as a process of its own.
function Broker:feed(topic, lines, portions)
  local folder, script = s.folder(), { "set -e" }
  local size = math.ceil(#lines / portions)
  for i = 1, portions do
    local path = folder .. "/" .. i
    s.write(path, table.concat(lines, "\n", (i - 1) * size + 1, math.min(i * size, #lines)) .. "\n")
    script[#script + 1] = ("kcat -b %s -P -t %s -X partitioner=murmur2_random -X enable.idempotence=true -K: -l %s"):format(self.address, topic, path)
  end
  return s.start { "sh", "-c", table.concat(script, "\n") }
end

--- All messages of a topic, each as `format` says (kcat's), lines in the order of their partitions.
function Broker:consume(topic, format, ...)
  local code, out, err =
    self:kcat("-C", "-t", topic, "-e", "-q", "-X", "check.crcs=true", "-f", (format or "%s") .. "\\n", ...)
  if err:find("Unknown topic or partition", 1, true) then return {} end -- not yet
  assert(code == 0, err)
  local lines = {}
  for line in out:gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  return lines
end

local ffi = require "ffi"
ffi.cdef [[
  typedef struct rd_kafka_s rd_kafka_t;
  typedef struct rd_kafka_conf_s rd_kafka_conf_t;
  typedef struct rd_kafka_queue_s rd_kafka_queue_t;
  typedef struct rd_kafka_op_s rd_kafka_event_t;
  typedef struct rd_kafka_DeleteTopic_s rd_kafka_DeleteTopic_t;
  rd_kafka_conf_t *rd_kafka_conf_new(void);
  int rd_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, char *errstr, size_t errstr_size);
  rd_kafka_t *rd_kafka_new(int type, rd_kafka_conf_t *conf, char *errstr, size_t errstr_size);
  void rd_kafka_destroy(rd_kafka_t *rk);
  rd_kafka_queue_t *rd_kafka_queue_new(rd_kafka_t *rk);
  rd_kafka_DeleteTopic_t *rd_kafka_DeleteTopic_new(const char *topic);
  void rd_kafka_DeleteTopic_destroy(rd_kafka_DeleteTopic_t *del_topic);
  void rd_kafka_DeleteTopics(rd_kafka_t *rk, rd_kafka_DeleteTopic_t **del_topics, size_t count, const void *options, rd_kafka_queue_t *rkqu);
  rd_kafka_event_t *rd_kafka_queue_poll(rd_kafka_queue_t *rkqu, int timeout_ms);
  int rd_kafka_event_error(rd_kafka_event_t *rkev);
  void rd_kafka_event_destroy(rd_kafka_event_t *rkev);
  void rd_kafka_queue_destroy(rd_kafka_queue_t *rkqu);
]]

--- Deletes a topic.
function Broker:delete(topic)
  local C, why = ffi.load "rdkafka.so.1", ffi.new "char[300]"
  local conf = C.rd_kafka_conf_new()
  C.rd_kafka_conf_set(conf, "bootstrap.servers", self.address, why, 300)
  local rk = C.rd_kafka_new(0, conf, why, 300)
  local queue, list = C.rd_kafka_queue_new(rk), ffi.new("rd_kafka_DeleteTopic_t *[1]", C.rd_kafka_DeleteTopic_new(topic))
  C.rd_kafka_DeleteTopics(rk, list, 1, nil, queue)
  local event = C.rd_kafka_queue_poll(queue, 20000)
  assert(event ~= nil and C.rd_kafka_event_error(event) == 0, "the topic is not deleted")
  C.rd_kafka_DeleteTopic_destroy(list[0])
  C.rd_kafka_event_destroy(event)
  C.rd_kafka_queue_destroy(queue)
  C.rd_kafka_destroy(rk)
end

--- Forbids alice to do something ("Write", "Read") with a topic.
function Broker:forbid(operation, topic)
  local argv = java("kafka.admin.AclCommand", "--bootstrap-server", self.address, "--add", "--deny-principal", "User:alice")
  for _, each in ipairs { "--operation", operation, "--topic", topic } do
    argv[#argv + 1] = each
  end
  local code, out, err = s.run(argv, nil, 60)
  assert(code == 0, out .. err)
end

function Broker:kill(signal)
  self.process:kill(signal or s.SIGKILL)
  self.process:wait(30)
end

local CONFIG = [[
process.roles=broker,controller
node.id=%NODE%
controller.quorum.voters=%VOTERS%
listeners=PLAINTEXT://127.0.0.1:%PORT%,CONTROLLER://127.0.0.1:%CONTROLLER%%LISTENERS%
advertised.listeners=PLAINTEXT://127.0.0.1:%ADVERTISED%%LISTENERS%
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%FOLDER%/log
num.partitions=%PARTITIONS%
default.replication.factor=%REPLICAS%
min.insync.replicas=%LEAST%
offsets.topic.num.partitions=4
offsets.topic.replication.factor=%REPLICAS%
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=%REPLICAS%
transaction.state.log.min.isr=%LEAST%
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=%SESSION%
broker.heartbeat.interval.ms=200
replica.lag.time.max.ms=3000
message.max.bytes=1000000
%REST%
]]

--- One of `ports`, formatted and not started.
local function prepare(ports, node, options)
  local folder, voters = s.folder(), {}
  for i, each in ipairs(ports) do
    voters[i] = i .. "@127.0.0.1:" .. each.controller
  end
  local self = setmetatable({ address = "127.0.0.1:" .. ports[node].port, port = ports[node].port, config = folder .. "/server.properties" }, Broker)
  local values = {
    NODE = node,
    VOTERS = table.concat(voters, ","),
    PORT = ports[node].port,
    CONTROLLER = ports[node].controller,
    ADVERTISED = options.advertised or ports[node].port,
    FOLDER = folder,
    PARTITIONS = options.partitions or 4,
    REPLICAS = #ports,
    LEAST = math.min(#ports, 2),
    SESSION = #ports > 1 and 3000 or 1000,
    LISTENERS = options.listeners or "",
    REST = options.rest or "",
  }
  s.write(self.config, M.fill(CONFIG, values))
  local argv = java("kafka.tools.StorageTool", "format", "-t", "bW9vbndlaXJicm9rZXIwMQ", "-c", self.config)
  for _, each in ipairs(options.format or {}) do
    argv[#argv + 1] = each
  end
  local code, out, err = s.run(argv, nil, 60)
  assert(code == 0, out .. err)
  return self
end

--- A broker with `partitions` for each topic that is made by writing to it. `advertised`: the port that clients are told, where a
--- proxy stands before it.
function M.start(partitions, advertised)
  fetch()
  local self = prepare({ { port = s.free_port(), controller = s.free_port() } }, 1, { partitions = partitions, advertised = advertised })
  self:restart()
  return self
end

--- One that listens with TLS, wants a certificate of its clients and a password of alice, besides: `secure` is that address, `ca`,
--- `certificate` and `key` are files. PLAIN and SCRAM-SHA-256 know her as "plain-secret" and "scram-secret". She may do all that
--- nothing is said of (`forbid`).
function M.secure(partitions)
  fetch()
  local folder, port = s.folder(), s.free_port()
  local function openssl(...)
    local code, out, err = s.run { "openssl", ... }
    assert(code == 0, out .. err)
  end
  local function path(name) return folder .. "/" .. name end
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", path "ca.key", "-out", path "ca.pem")
  for _, who in ipairs { "broker", "client" } do
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" .. who, "-keyout", path(who .. ".key"), "-out", path(who .. ".csr"))
    s.write(path "names", "subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", path(who .. ".csr"), "-CA", path "ca.pem", "-CAkey", path "ca.key", "-CAcreateserial",
      "-days", "2", "-extfile", path "names", "-out", path(who .. ".pem"))
  end
  s.write(path "broker-all.pem", s.read(path "broker.key") .. s.read(path "broker.pem"))
  local module = "org.apache.kafka.common.security."
  local self = prepare({ { port = s.free_port(), controller = s.free_port() } }, 1, {
    partitions = partitions,
    listeners = ",SASL_SSL://127.0.0.1:" .. port,
    format = { "--add-scram", "SCRAM-SHA-256=[name=alice,password=scram-secret]" },
    rest = table.concat({
      "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
      "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
      "listener.name.sasl_ssl.plain.sasl.jaas.config=" .. module .. 'plain.PlainLoginModule required user_alice="plain-secret";',
      "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=" .. module .. "scram.ScramLoginModule required;",
      "ssl.keystore.type=PEM",
      "ssl.keystore.location=" .. path "broker-all.pem",
      "ssl.truststore.type=PEM",
      "ssl.truststore.location=" .. path "ca.pem",
      "ssl.client.auth=required",
      "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
      "super.users=User:ANONYMOUS",
      "allow.everyone.if.no.acl.found=true",
    }, "\n"),
  })
  self.secure, self.ca, self.certificate, self.key = "127.0.0.1:" .. port, path "ca.pem", path "client.pem", path "client.key"
  self:restart()
  return self
end

local Cluster = setmetatable({}, { __index = Broker })
Cluster.__index = Cluster

--- Three brokers, with every topic on all of them. What a broker can do it can too, by those that are alive.
function M.cluster(partitions)
  fetch()
  local ports, self = {}, setmetatable({ brokers = {} }, Cluster)
  for i = 1, 3 do
    ports[i] = { port = s.free_port(), controller = s.free_port() }
  end
  for i = 1, 3 do
    self.brokers[i] = prepare(ports, i, { partitions = partitions })
    self.brokers[i].process = s.start(java("kafka.Kafka", self.brokers[i].config))
  end
  local addresses = {}
  for i, b in ipairs(self.brokers) do
    addresses[i] = b.address
  end
  self.address = table.concat(addresses, ",")
  self:whole()
  return self
end

--- Starts again those that a test that failed has left dead or standing still.
function Cluster:revive()
  for _, b in ipairs(self.brokers) do
    if b.process:poll() then b.process = s.start(java("kafka.Kafka", b.config))
    else b.process:kill(s.SIGCONT) end
  end
  self:whole()
end

--- Waits until all three are there, and all partitions on all of them.
function Cluster:whole()
  s.eventually(function()
    local code, out = self:kcat("-L", "-m", "5")
    if code ~= 0 or not out:find "\n 3 brokers:" then return false end
    for isrs in out:gmatch "isrs: ([%d,]+)" do
      if not isrs:find "%d,%d,%d" then return false end
    end
    return true
  end, 90, function() return "the cluster is whole: " .. select(2, self:kcat("-L", "-m", "5")) end)
end

function Cluster:kill(signal)
  for _, b in ipairs(self.brokers) do
    if not b.process:poll() then b:kill(signal or s.SIGKILL) end
  end
end

--- The broker that leads partition 0 of a topic.
function Cluster:leader(topic)
  local _, out = self:kcat("-L", "-t", topic, "-m", "5")
  return self.brokers[tonumber((assert(out:match "partition 0, leader (%d)", out)))]
end

return M
