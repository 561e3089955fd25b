--- An Apache Kafka broker of a test's own (KRaft, one process), fetched from Maven Central on first use. A test that cannot have
--- one fails.
local s = require "support"
local socket = require "socket"

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
    s.root .. "/spec/kafka/pom.xml",
    "-DbuildDirectory=" .. home .. "/target",
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    "-DoutputDirectory=" .. home .. "/jars",
  }, nil, 300)
  assert(code == 0, "Kafka cannot be fetched: " .. out .. err)
  s.write(home .. "/ready", "yes\n")
end

function M.free_port()
  local listening = assert(socket.bind("127.0.0.1", 0))
  local _, port = listening:getsockname()
  listening:close()
  return tonumber(port)
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

--- Puts lines into a topic, which is made where it is missing: "key:value" with `keys`.
function Broker:produce(topic, lines, keys, ...)
  local path = s.folder() .. "/lines"
  s.write(path, table.concat(lines, "\n") .. "\n")
  local argv = { "kcat", "-b", self.address, "-P", "-t", topic, "-X", "partitioner=murmur2_random", ... }
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
    script[#script + 1] = ("kcat -b %s -P -t %s -X partitioner=murmur2_random -K: -l %s"):format(self.address, topic, path)
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

function Broker:kill(signal)
  self.process:kill(signal or s.SIGKILL)
  self.process:wait(30)
end

--- A broker with `partitions` for each topic that is made by writing to it. `advertised`: the port that clients are told, where a
--- proxy stands before it.
function M.start(partitions, advertised)
  fetch()
  local folder, port, controller = s.folder(), M.free_port(), M.free_port()
  local self = setmetatable({ address = "127.0.0.1:" .. port, port = port, config = folder .. "/server.properties" }, Broker)
  s.write(
    self.config,
    ([[
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%d
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d
advertised.listeners=PLAINTEXT://127.0.0.1:%d
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=%s/log
num.partitions=%d
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
message.max.bytes=1000000
]]):format(controller, port, controller, advertised or port, folder, partitions or 4)
  )
  local code, out, err =
    s.run(java("kafka.tools.StorageTool", "format", "-t", "bW9vbndlaXJicm9rZXIwMQ", "-c", self.config), nil, 60)
  assert(code == 0, out .. err)
  self:restart()
  return self
end

return M
