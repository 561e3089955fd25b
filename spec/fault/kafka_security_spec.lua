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

  it("says that it is not let in, tries again, and ends when it is told to", function()
    local folder = s.folder()
    local p = s.router(folder, flow("w", "PLAIN", "wrong", "none"), { "--state", "state" })
    s.eventually(function() return p:stderr():find "Authentication failed" end, 20, function() return p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert(not p:stderr():find("wrong", 1, true), "the password is in no log")
  end)
end)
