-- Disk buffers of sources that cannot give again what they have given.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.%s
  local out = mw.sink.http("out", {
    url = "http://127.0.0.1:%d/", queue = "256KiB", concurrency = 1, batch = { count = 50, after = "1ms" }, retry = { first = "10ms", most = "100ms" },
  })
  mw.rule("r", { from = input, by = "k" }, function(e) out:send(e, { path = mw.meta(e).path, peer = mw.meta(e).peer and true }) end)
]]

local TARGET = [[
  local mw = require "moonweir"
  local input = mw.source.http("input", { listen = "127.0.0.1:%d" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  mw.rule("r", { from = input }, function(e) out:send(e) end)
]]

local function http(buffer) return ([[http("input", { listen = "127.0.0.1:0", path = "/in", buffer = { %s } })]]):format(buffer) end

--- Posts events from..to, ten in a request; how many were taken, and the last status.
local function post(host, port, from, to, pad)
  local c, taken = s.connect(host, port), 0
  for n = from, to, 10 do
    local list = {}
    for i = n, math.min(n + 9, to) do
      list[#list + 1] = ('{"n":%d,"k":"k%d","pad":"%s"}'):format(i, i % 5, ("x"):rep(pad or 0))
    end
    local status = s.request(c, "POST", "/in", "[" .. table.concat(list, ",") .. "]")
    if status ~= 202 then
      c:close()
      return taken, status
    end
    taken = taken + #list
  end
  c:close()
  return taken, 202
end

--- What the target has: numbers, each at least once; how many came twice; `ordered`: by key, where nothing came twice.
local function arrived(folder, ordered)
  local seen, count, twice, last = {}, 0, 0, {}
  for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
    assert(e.n, s.json.encode(e))
    if seen[e.n] then
      twice = twice + 1
    else
      count = count + 1
      assert(not ordered or twice > 0 or not last[e.k] or last[e.k] < e.n, "out of order: " .. e.n)
    end
    last[e.k] = e.n
    seen[e.n] = e
  end
  return count, twice, seen
end

describe("a disk buffer", function()
  after_each(s.clean)

  local function start(folder, source, port, shards)
    return s.router(folder, FLOW:format(source, port), { "--state", "state", "--shards", tostring(shards or 2), "--no-supervisor" })
  end

  it("takes events in while the sink is away, over kill -9, and gives them in order when it is back", function()
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    local total = 0
    for _ = 1, 4 do
      local p = start(folder, http 'sync = "5ms"', port, 1)
      local host, at = p:address "input"
      local taken, status = post(host, at, total + 1, total + 500, 100)
      assert.same({ 500, 202 }, { taken, status })
      total = total + 500
      p:kill(s.SIGKILL)
      p:wait()
    end
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    local p = start(folder, http 'sync = "5ms"', port, 1)
    s.eventually(function() return (arrived(other, true)) == total end, 30, function() return arrived(other) .. p:stderr() end)
    local _, _, seen = arrived(other)
    assert.same({ "/in", true, ("x"):rep(100) }, { seen[1].path, seen[1].peer, seen[1].pad })
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
    p = start(folder, http 'sync = "5ms"', port) -- nothing is left
    s.sleep(0.3)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    assert.equal(total, (arrived(other)))
  end)

  it("is read to its end by another number of shards", function()
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    for round, shards in ipairs { 3, 1, 2 } do
      local p = start(folder, http 'sync = "5ms"', port, shards)
      local host, at = p:address "input"
      for n = 1, 20 do -- each over a connection of its own
        assert.equal(10, (post(host, at, round * 1000 + n * 10, round * 1000 + n * 10 + 9)))
      end
      p:kill(s.SIGKILL)
      p:wait()
    end
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    local p = start(folder, http 'sync = "5ms"', port, 1)
    s.eventually(function() return (arrived(other)) == 600 end, 30, function() return arrived(other) .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
  end)

  it("loses nothing that it answered in rounds of kill -9 under load", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    local answered = {}
    for round = 1, 8 do
      local p = start(folder, http 'sync = "1ms"', port, math.random(1, 2))
      local host, at = p:address "input"
      local out, stop = folder .. "/load" .. round, folder .. "/stop" .. round
      local client = s.start {
        "luajit",
        s.root .. "/spec/fault/buffer_client.lua",
        host,
        tostring(at),
        tostring(round * 1000000),
        out,
        stop,
      }
      s.sleep(0.2 + math.random() * 0.5)
      p:kill(s.SIGKILL)
      p:wait()
      s.write(stop, "")
      client:wait(10)
      for _, line in ipairs(s.lines(out)) do
        answered[#answered + 1] = tonumber(line)
      end
    end
    local p = start(folder, http 'sync = "1ms"', port)
    assert(#answered > 100, #answered)
    s.eventually(function()
      local _, _, seen = arrived(other)
      for _, n in ipairs(answered) do
        if not seen[n] then return false end
      end
      return true
    end, 30, function() return "all that was answered arrives, seed " .. seed .. ": " .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
  end)

  it("is bounded, and pushes back when it is full", function()
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    local p = start(folder, http 'size = "1MiB", sync = "1ms"', port, 1)
    local host, at = p:address "input"
    local taken, status = post(host, at, 1, 20000, 200)
    assert.equal(429, status)
    assert(taken > 2000 and taken < 10000, taken)
    local bytes = io.popen("du -sb " .. folder .. "/state/buffers | cut -f1"):read "*n"
    assert(bytes < 1500000, bytes)
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    s.eventually(function() return arrived(other) >= taken end, 30, function() return p:stderr() end)
    s.eventually(function()
      local n, now = post(host, at, 100001, 100010, 200)
      return n == 10 and now == 202
    end, 10, "it takes events in again")
    s.eventually(function() return arrived(other) >= taken + 10 end, 10)
    s.eventually(
      function() return io.popen("du -sb " .. folder .. "/state/buffers | cut -f1"):read "*n" < 500000 end,
      10,
      "what was delivered goes from the disk"
    )
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
  end)

  it("reads on behind what a crash has torn, and behind what is damaged, and says so", function()
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    local source = http 'sync = "1ms", size = "8MiB"'
    local p = start(folder, source, port, 1)
    local host, at = p:address "input"
    assert.equal(1000, (post(host, at, 1, 1000, 2000)))
    p:kill(s.SIGKILL)
    p:wait()
    local place = folder .. "/state/buffers/input.buffer/0/"
    local names = {}
    for name in io.popen("ls " .. place):lines() do
      names[#names + 1] = name
    end
    assert(#names > 1, "there are several segments")
    s.append(place .. names[#names], "\200\1\0\0half a record")
    local file = io.open(place .. names[1], "r+b") -- a bit flips in the first segment
    file:seek("set", 300000)
    file:write "\255"
    file:close()
    local code, out, why = s.run { s.program, "check", "--state", folder .. "/state" }
    assert.equal(1, code, out .. why)
    assert(out:find "1 damaged" and out:find "torn" and out:find(names[1], 1, true), out .. "|" .. why)
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    p = start(folder, source, port, 1)
    s.eventually(function() return (arrived(other)) == 990 end, 30, function() return arrived(other) .. p:stderr() end)
    assert(p:stderr():find "ends inside a record", p:stderr())
    assert(p:stderr():find "is damaged at byte", p:stderr())
    assert(s.read(place .. names[1] .. ".damaged") ~= "", "the damaged segment is kept")
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
    p = start(folder, source, port, 1) -- what was delivered goes
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    code, out = s.run { s.program, "check", "--state", folder .. "/state" }
    assert.equal(0, code, out)
  end)

  it("works for tcp and unix, and keeps what is no event for the dead letters", function()
    for _, kind in ipairs { [[tcp("input", { listen = "127.0.0.1:0", buffer = {} })]], [[unix("input", { path = "in.sock", buffer = {} })]] } do
      local folder, other, port = s.folder(), s.folder(), s.free_port()
      local target = s.router(other, TARGET:format(port), { "--state", "state" })
      local p = start(folder, kind, port, 2)
      local lines = {}
      for n = 1, 300 do
        lines[n] = ('{"n":%d,"k":"k%d"}'):format(n, n % 5)
      end
      lines[100] = "no event"
      local c
      if kind:find "^unix" then
        c = require "socket.unix"()
        s.eventually(function() return c:connect(folder .. "/in.sock") end)
      else
        c = s.connect(p:address "input")
      end
      c:send(table.concat(lines, "\n") .. "\n")
      c:close()
      s.eventually(function() return (arrived(other)) == 299 end, 20, function() return arrived(other) .. p:stderr() end)
      local dead = s.events(folder .. "/state/dead-letters.ndjson")
      assert.equal(1, #dead, s.read(folder .. "/state/dead-letters.ndjson"):sub(1, 900))
      assert.same({ "input", "source" }, { dead[1].source, dead[1].stage })
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
      target:kill()
      target:wait(10)
    end
  end)

  it("takes datagrams in", function()
    local folder, other, port = s.folder(), s.folder(), s.free_port()
    local p = start(folder, [[udp("input", { listen = "127.0.0.1:0", buffer = { sync = "1ms" } })]], port, 1)
    local host, at = p:address "input"
    local c = require("socket").udp()
    c:setpeername(host, at)
    for n = 1, 100 do
      c:send(('{"n":%d,"k":"k"}'):format(n))
    end
    c:close()
    s.eventually(function()
      local pipe = io.popen("cat " .. folder .. "/state/buffers/input.buffer/*/*")
      local _, count = pipe:read("*a"):gsub('"n":', "")
      pipe:close()
      return count == 100
    end, 20, function() return p:stderr() end)
    p:kill(s.SIGKILL)
    p:wait()
    local target = s.router(other, TARGET:format(port), { "--state", "state" })
    p = start(folder, [[udp("input", { listen = "127.0.0.1:0", buffer = { sync = "1ms" } })]], port, 2)
    s.eventually(function() return (arrived(other)) == 100 end, 20, function() return arrived(other) .. p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    target:kill()
    target:wait(10)
  end)

  it("stays with its source while the router runs, and what nobody reads is told", function()
    local folder, port = s.folder(), s.free_port()
    local buffered, plain = http 'sync = "1ms"', [[http("input", { listen = "127.0.0.1:0", path = "/in" })]]
    local p = s.router(folder, FLOW:format(buffered, port), { "--state", "state", "--no-watch", "--no-supervisor" })
    for round, other in ipairs { plain, [[tcp("other", { listen = "127.0.0.1:0" })]], (buffered:gsub('"input"', '"renamed"')) } do
      s.write(folder .. "/flow.lua", FLOW:format(other, port))
      p:kill(1)
      s.eventually(function() return select(2, p:stderr():gsub("that takes a restart", "")) == round end, 10, function() return p:stderr() end)
    end
    s.write(folder .. "/flow.lua", FLOW:format(http 'sync = "2ms", size = "2GiB"', port))
    p:kill(1) -- but it may change
    s.eventually(function() return p:stderr():find "is live" end, 10, function() return p:stderr() end)
    local host, at = p:address "input"
    assert.equal(10, (post(host, at, 1, 10)))
    p:kill(s.SIGKILL)
    p:wait()
    p = s.router(folder, FLOW:format(plain, port), { "--state", "state" })
    assert(p:stderr():find("bytes that were taken in, and no source of this flow reads them", 1, true), p:stderr())
    host, at = p:address "input"
    local c = s.connect(host, at)
    c:close()
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
  end)

  it("is refused where it means nothing", function()
    for source, why in pairs {
      [ [[file("input", { path = "x", buffer = {} })]] ] = "'buffer' is for http, tcp, udp and unix",
      [ [[tcp("input", { listen = "127.0.0.1:0", format = "csv", buffer = {} })]] ] = "'columns' must be given",
    } do
      local code, _, err = s.moonweir("check", s.folder(), FLOW:format(source, 9))
      assert.equal(2, code)
      assert(err:find(why, 1, true), err)
    end
  end)
end)
