-- moonweir state: what a flow keeps, looked at and moved.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local st = mw.state "st"
  local w = mw.window("w", { by = "k", span = "1h", keep = { n = mw.count(), kinds = mw.distinct("v"), last = mw.last("v") } })
  local later = mw.timer("later", function() end)
  mw.rule("r", { from = input, by = "k" }, function(e)
    st:put(e.k, "v", e.v)
    later:set(e.k, "1h", { v = e.v })
    out:send { n = st:increment(e.k, "n", 1), w = w:add(e).n }
  end)
]]

local function run(folder, lines, want)
  s.append(folder .. "/in.ndjson", lines)
  local p = s.router(folder, FLOW)
  s.eventually(function() return #s.lines(folder .. "/out.ndjson") == want end)
  p:kill()
  assert.equal(0, p:wait())
end

local function state(folder, ...)
  return s.run({ s.program, "state", folder .. "/state", ... }, { cwd = folder })
end

describe("moonweir state", function()
  after_each(s.clean)

  it("lists, shows, exports and imports", function()
    local folder = s.folder()
    run(folder, '{"k":"a","v":"x","t":1}\n{"k":7,"v":[1],"t":2}\n{"k":"a","v":"y","t":3}\n', 3)
    local code, out = state(folder, "list")
    assert.equal(0, code)
    local names = {}
    for line in out:gmatch "[^\n]+" do
      local e = s.json.decode(line)
      names[e.name] = e.keys
    end
    assert.same({ ["state/st"] = 2, ["window/w"] = 2, ["timer/later"] = 2 }, names)
    code, out = state(folder, "get", "state/st", "a")
    assert.equal(0, code)
    assert.same({ name = "state/st", key = "a", value = { n = 2, v = "y" } }, s.json.decode(out))
    out = select(2, state(folder, "get", "state/st", "7"))
    assert.same({ n = 1, v = { 1 } }, s.json.decode(out).value)
    out = select(2, state(folder, "get", "window/w", "a"))
    assert.same(
      { { start = 0, finish = 3600, n = 2, kinds = 2, last = "y" } },
      s.json.decode(out).value
    )
    out = select(2, state(folder, "get", "timer/later", "a"))
    assert.same({ at = 3603, data = { v = "y" } }, s.json.decode(out).value)

    local _, all = state(folder, "export")
    s.write(folder .. "/export.ndjson", all)
    local other = s.folder()
    run(other, '{"k":"z","v":"z","t":1}\n', 1)
    local _, _, err =
      s.run({ s.program, "state", other .. "/state", "import", folder .. "/export.ndjson" })
    assert(err:find "6 keys imported", err)
    run(other, '{"k":"a","v":"w","t":4}\n{"k":"z","v":"w","t":4}\n', 3)
    local events = s.events(other .. "/out.ndjson")
    local found = {}
    for i = 2, 3 do
      found[events[i].n .. "/" .. events[i].w] = true
    end
    assert.same({ ["3/3"] = true, ["2/2"] = true }, found)
  end)

  it("says what is wrong, and imports nothing then", function()
    local folder = s.folder()
    run(folder, '{"k":"a","v":"x","t":1}\n', 1)
    for _, case in ipairs {
      { { "get", "state/none", "a" }, 1, "nothing is kept under 'state/none'" },
      {
        { "import", folder .. "/flow.lua" },
        1,
        "flow.lua:1: this is no line of an export; nothing was imported",
      },
      { { "look" }, 2, "state wants: DIR list" },
    } do
      local code, _, err = state(folder, unpack(case[1]))
      assert.equal(case[2], code, err)
      assert(err:find(case[3], 1, true), err)
    end
    local code, _, err = s.run { s.program, "state", folder, "list" }
    assert.equal(1, code)
    assert(err:find("is no state folder", 1, true), err)
    local p = s.router(folder, FLOW)
    code, _, err = state(folder, "list")
    assert.equal(1, code)
    assert(err:find("is in use by another router", 1, true), err)
    p:kill()
    p:wait()
  end)
end)

describe("what is kept", function()
  after_each(s.clean)

  it("is counted in the metrics", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", time = "t" })
      local w = mw.window("w", { by = "k", span = "10s", keep = { n = mw.count() } })
      local st = mw.state "st"
      mw.flow { checkpoint = "50ms" }
      mw.rule("r", { from = input, by = "k" }, function(e) w:add(e) st:put(e.k, "x", 1) end)
    ]], { "--state", "state", "--admin", "127.0.0.1:0", "--shards", "2" })
    local lines = {}
    for i = 1, 100 do
      lines[i] = ('{"k":"k%d","t":%d}'):format(i % 10, 1700000000 + i)
    end
    s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    local host, port = p:address "admin"
    local metrics
    s.eventually(function()
      metrics = select(2, s.post(host, port, "/metrics"))
      return metrics:find('moonweir_state_keys{sort="state",name="st"} 10', 1, true)
        and metrics:find "moonweir_watermark_seconds 17"
    end, 5, "keys are counted")
    s.append(folder .. "/in.ndjson", '{"k":"k1","t":1700000001}\n{"k":"k2","t":1700000002}\n')
    s.eventually(function()
      metrics = select(2, s.post(host, port, "/metrics"))
      return metrics:find('moonweir_window_late_events_total{sort="window",name="w"} 2', 1, true)
    end, 5, "late events are counted")
    assert(tonumber(metrics:match 'moonweir_state_bytes{sort="window",name="w"} (%d+)') > 1000)
    s.eventually(
      function() return tonumber(select(2, s.post(host, port, "/metrics")):match "\nmoonweir_checkpoint_seconds (%S+)") > 0 end,
      5,
      "a checkpoint took time"
    )
    s.write(folder .. "/metrics", metrics)
    local code, out, err = s.run { "sh", "-c", "promtool check metrics < " .. folder .. "/metrics" }
    assert.equal(0, code, out .. err)
    p:kill()
    assert.equal(0, p:wait(10))
  end)
end)
