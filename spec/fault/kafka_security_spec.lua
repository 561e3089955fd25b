-- Kafka with TLS, certificates on both sides, and passwords; and compression of every kind.
local s = require "support"
local kafka = require "kafka_broker"

local FLOW = [[
  local mw = require "moonweir"
  local config = {
    ["security.protocol"] = "SASL_SSL",
    ["sasl.mechanisms"] = "%MECHANISM%",
    ["sasl.username"] = "alice",
    ["sasl.password"] = "%PASSWORD%",
    ["ssl.ca.location"] = "%CA%",
    ["ssl.certificate.location"] = "%CERTIFICATE%",
    ["ssl.key.location"] = "%KEY%",
  }
  mw.flow { delivery = "%DELIVERY%", checkpoint = "50ms" }
  local input = mw.source.kafka("input", { brokers = "%BROKER%", topic = "in", group = "%T%", config = config })
  local out = mw.sink.kafka("out", { brokers = "%BROKER%", topic = "out-%T%", compression = "%COMPRESSION%", config = config })
  mw.rule("r", { from = input }, function(e) out:send(e) end)
]]

describe("Kafka that lets in whom it knows", function()
  local broker
  setup(function()
    broker = kafka.secure(2)
    local lines = {}
    for n = 1, 500 do
      lines[n] = ('{"n":%d,"pad":"%s"}'):format(n, ("x"):rep(100))
    end
    broker:produce("in", lines)
  end)
  teardown(function()
    broker:kill(s.SIGTERM)
    s.clean()
  end)

  local function flow(topic, mechanism, password, compression, delivery)
    return kafka.fill(FLOW, {
      T = topic,
      MECHANISM = mechanism,
      PASSWORD = password,
      COMPRESSION = compression,
      DELIVERY = delivery or "at-least-once",
      BROKER = broker.secure,
      CA = broker.ca,
      CERTIFICATE = broker.certificate,
      KEY = broker.key,
    })
  end

  for _, case in ipairs {
    { "a", "PLAIN", "plain-secret", "gzip" },
    { "b", "SCRAM-SHA-256", "scram-secret", "zstd" },
    { "c", "PLAIN", "plain-secret", "lz4", "exactly-once" },
    { "d", "SCRAM-SHA-256", "scram-secret", "snappy" },
  } do
    it(("works with %s and %s"):format(case[2], case[4]), function()
      local code, _, err = s.moonweir("run", s.folder(), flow(unpack(case)), { "--state", "state", "--once", "--quiet" }, nil, 60)
      assert.equal(0, code, err)
      assert.equal(500, #broker:consume("out-" .. case[1], "%s"))
    end)
  end

  for _, delivery in ipairs { "at-least-once", "exactly-once" } do
    it("makes dead letters of what it may not write, and writes the rest, " .. delivery, function()
      local name = delivery == "exactly-once" and "once" or "least"
      broker:produce(name .. "-no", { "begun" })
      broker:forbid("Write", name .. "-no")
      local folder = s.folder()
      local text = flow(name, "PLAIN", "plain-secret", "none", delivery):gsub('topic = "out%-%w+"', 'topic = "' .. name .. '-{to}"')
      text = text:gsub("out:send%(e%)", 'out:send(e, { to = e.n %% 50 == 0 and "no" or "yes" })')
      local p = s.router(folder, text, { "--state", "state" })
      local dead = {}
      s.eventually(function()
        dead = s.events(folder .. "/state/dead-letters.ndjson")
        return #dead == 10 and #broker:consume(name .. "-yes", "%s", "-X", "isolation.level=read_committed") == 490
      end, 60, function() return #dead .. " dead; " .. p:stderr() end)
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
      assert.same({ "begun" }, broker:consume(name .. "-no", "%s"))
      local seen = {}
      for _, letter in ipairs(dead) do
        assert.matches("uthoriz", letter.error)
        seen[letter.event.n] = true
      end
      for n = 50, 500, 50 do
        assert.is_true(seen[n], n)
      end
    end)
  end

  it("says that it may not read a topic, and does not end for it", function()
    broker:produce("secret", { '{"n":1}' })
    broker:forbid("Read", "secret")
    local text = flow("secret", "PLAIN", "plain-secret", "none"):gsub('topic = "in"', 'topic = "secret"')
    local p = s.router(s.folder(), text, { "--state", "state" })
    s.eventually(function() return p:stderr():find "uthoriz" end, 30, function() return p:stderr() end)
    assert.is_nil(p:poll())
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("says that it is not let in, tries again, and ends when it is told to", function()
    local folder = s.folder()
    local p = s.router(folder, flow("w", "PLAIN", "wrong", "none"), { "--state", "state" })
    s.eventually(function() return p:stderr():find "Authentication failed" end, 20, function() return p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert(not p:stderr():find("wrong", 1, true), "the password is in no log")
  end)
end)
