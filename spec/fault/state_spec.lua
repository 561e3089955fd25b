-- kill -9 with windows and states: after any number of kills, each time with another number of
-- shards, what they hold is exactly what the events that are not read again have made.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  mw.flow { checkpoint = "50ms" }
  local input = mw.source.file("input", { path = "in.ndjson", time = "at", lateness = "300ms", block = "16KiB" })
  local counts = mw.sink.file("counts", { path = "counts.ndjson" })
  local closed = mw.sink.file("closed", { path = "closed.ndjson" })
  local st = mw.state("st")
  local w = mw.window("w", { by = "k", span = "10s", slide = "5s", keep = {
    n = mw.count(), total = mw.sum("x"), kinds = mw.distinct("kind"), last = mw.last("id"),
  } })
  mw.rule("r", { from = input, by = "k" }, function(e)
    local n = st:increment(e.k, "n", 1)
    st:put(e.k, "list", { e.id, n })
    local r = w:add(e)
    counts:send { id = e.id, n = n, list = st:get(e.k, "list")[1], seen = r.n }
  end)
  w:on_close(function(r) closed:send(r) end)
]]

local EVENTS, KEYS, RATE = 400000, 3000, 2000 -- events a second of event time

--- Writes the events; what each should count, and what each window should hold.
local function make(path)
  local lines, index, windows = {}, {}, {}
  local counted = {}
  for i = 1, EVENTS do
    local k = "k" .. math.random(1, KEYS)
    local at = 1700000000 + i / RATE - (math.random(4) == 1 and math.random() * 0.29 or 0)
    at = math.floor(at * 1000) / 1000
    local x, kind = math.random(1, 9), math.random(1, 20)
    lines[i] = ('{"id":%d,"k":"%s","x":%d,"kind":"a%d","at":%.3f}'):format(i, k, x, kind, at)
    counted[k] = (counted[k] or 0) + 1
    index[i] = counted[k]
    local pane = math.floor(at / 5) * 5
    for start = pane - 5, pane, 5 do
      local id = k .. "/" .. start
      local w = windows[id] or { n = 0, total = 0, kinds = {} }
      windows[id] = w
      w.n, w.total = w.n + 1, w.total + x
      w.kinds[kind] = true
    end
  end
  s.write(path, table.concat(lines, "\n") .. "\n")
  return index, windows
end

local function size(t)
  local n = 0
  for _ in pairs(t) do
    n = n + 1
  end
  return n
end

describe("windows and states through kill -9", function()
  after_each(s.clean)

  it("are exact, whatever the number of shards from run to run", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local folder = s.folder()
    local index, windows = make(folder .. "/in.ndjson")
    local note = "seed " .. seed
    local kills = 0
    for round = 1, 60 do
      local shards = tostring(math.random(1, 4))
      local p = s.start(
        s.command(
          "run",
          folder,
          FLOW,
          { "--state", "state", "--shards", shards, "--no-supervisor", "--quiet" }
        ),
        { cwd = folder }
      )
      if round == 60 then
        assert.equal(0, p:wait(60), note)
        break
      end
      s.sleep(0.05 + math.random() * 0.35)
      if p:poll() then
        assert.equal(0, p.code, note .. p:stderr())
        break
      end
      p:kill(s.SIGKILL)
      p:wait()
      kills = kills + 1
    end
    assert(kills > 3, "it was killed " .. kills .. " times only")
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
    local seen = {}
    local function exact(e)
      assert.equal(index[e.id], e.n, ("%s: event %d"):format(note, e.id))
      assert.equal(e.id, e.list, note)
      seen[e.id] = true
    end
    local torn = 0
    for _, line in ipairs(s.lines(folder .. "/counts.ndjson")) do
      local ok, e = pcall(s.json.decode, line)
      if ok then
        exact(e)
      else
        torn = torn + 1
      end
    end
    assert(torn <= kills, "a kill tears one line at most")
    assert.equal(EVENTS, size(seen), note)
    local got = {}
    for _, line in ipairs(s.lines(folder .. "/closed.ndjson")) do
      local ok, w = pcall(s.json.decode, line)
      if ok then
        local id = w.key .. "/" .. w.start
        local want = assert(windows[id], note .. ": nobody asked for " .. id)
        assert.equal(want.n, w.n, note .. " " .. id)
        assert.equal(want.total, w.total, note .. " " .. id)
        assert.equal(size(want.kinds), w.kinds, note .. " " .. id)
        got[id] = true
      end
    end
    assert.equal(size(windows), size(got), note)
    print(("      (%d kills)"):format(kills))
  end)
end)
