local s = require "support"

--- Writes numbered events to a file that is rotated by renaming, a few thousand at a time.
local function line(n) return ('{"n":%d,"pad":"%s"}\n'):format(n, ("x"):rep(n % 50)) end

--- Which numbers are in the outputs or the dead letters, and how often.
local function count(folder)
  local seen, twice, total = {}, 0, 0
  for path in
    io.popen("ls " .. folder .. "/out* " .. folder .. "/state/dead-letters.ndjson 2>/dev/null")
      :lines()
  do
    for text in io.lines(path) do
      local n = tonumber(text:match '"n":(%d+)')
      assert(n, "not an event: " .. text:sub(1, 80))
      if seen[n] then
        twice = twice + 1
      else
        total = total + 1
      end
      seen[n] = true
    end
  end
  return total, twice, seen
end

describe("kill -9 while files are copied and rotated", function()
  after_each(s.clean)

  it("loses nothing in thirty rounds (seed printed where it does)", function()
    local seed = os.time()
    math.randomseed(seed)
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in*.ndjson", follow = true, poll = "10ms", block = "16KiB" })
      local out = mw.sink.file("out", { path = "out.ndjson", rotate = { size = "300KiB" } })
      mw.rule("r", { from = input }, function(e) if e.n % 1000 == 999 then error("dead") end out:send(e) end)
    ]]
    local n, file = 0, 0
    s.write(folder .. "/in0.ndjson", "")
    for round = 1, 30 do
      local p = s.start(
        s.command(
          "run",
          folder,
          flow,
          { "--state", "state", "--shards", "2", "--no-supervisor", "--quiet" }
        ),
        { cwd = folder }
      )
      local lines = {}
      for _ = 1, 3000 do
        n = n + 1
        lines[#lines + 1] = line(n)
      end
      s.append(folder .. ("/in%d.ndjson"):format(file), table.concat(lines))
      if math.random(2) == 1 then
        file = file + 1
        s.write(folder .. ("/in%d.ndjson"):format(file), "")
      end
      s.sleep(math.random() * 0.12 + (round % 5 == 0 and 1.1 or 0))
      p:kill(s.SIGKILL)
      assert.equal(-9, p:wait())
    end
    local p = s.start(
      s.command(
        "run",
        folder,
        flow,
        { "--state", "state", "--shards", "2", "--no-supervisor", "--quiet" }
      ),
      { cwd = folder }
    )
    s.eventually(function() return (count(folder)) == n end, 30, function()
      local total, _, seen = count(folder)
      local missing
      for i = 1, n do
        if not seen[i] then
          missing = i
          break
        end
      end
      return ("%d of %d arrived; the first missing is %s (seed %d)"):format(
        total,
        n,
        tostring(missing),
        seed
      )
    end)
    p:kill()
    assert.equal(0, p:wait(10))
    local total, twice = count(folder)
    assert.equal(n, total)
    print(("      (30 kills: %d events, %d delivered more than once)"):format(total, twice))
  end)
end)

describe("the supervisor", function()
  after_each(s.clean)

  it("starts a router again that was killed, and it goes on where it was", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", line(1))
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "10ms" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]
    )
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 1 end)
    s.sleep(1.2) -- a checkpoint
    local child = io.popen("pgrep -P " .. p.pid):read "*n"
    os.execute("kill -9 " .. child)
    s.append(folder .. "/in.ndjson", line(2))
    s.eventually(
      function() return #s.lines(folder .. "/out.ndjson") == 2 end,
      10,
      function() return p:stderr() end
    )
    assert.matches("died of signal 9", p:stderr())
    p:kill()
    assert.equal(0, p:wait(10))
  end)

  it("takes its router with it when it is killed itself", function()
    local folder = s.folder()
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.generate("input", { rate = 10 })
      mw.rule("r", { from = input }, function() end)
    ]]
    )
    local child = io.popen("pgrep -P " .. p.pid):read "*n"
    p:kill(s.SIGKILL)
    p:wait()
    s.eventually(function() return os.execute("kill -0 " .. child .. " 2>/dev/null") ~= 0 end)
  end)
end)

describe("SIGTERM under load over HTTP", function()
  after_each(s.clean)

  it("leaves every event that was answered 200 in the output", function()
    local folder = s.folder()
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input, by = "c" }, function(e) out:send(e) mw.reply(e, { n = e.n }) end)
    ]]
    )
    local host, port = p:address "input"
    local clients, answered = {}, {}
    for c = 1, 8 do
      s.write(folder .. "/client" .. c .. ".sh", "")
      clients[c] = s.start(
        { "luajit", s.root .. "/spec/fault/http_client.lua", host, tostring(port), tostring(c) },
        { env = { LUA_PATH = "./?.lua;;" } }
      )
    end
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") > 2000 end, 20)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    for c = 1, 8 do
      clients[c]:wait(10)
      for text in clients[c]:stdout():gmatch "[^\n]+" do
        answered[#answered + 1] = text
      end
    end
    local out = {}
    for _, text in ipairs(s.lines(folder .. "/out.ndjson")) do
      out[text] = true
    end
    assert.is_true(#answered > 1000)
    for _, text in ipairs(answered) do
      assert.is_true(out[text], text .. " was answered 200 and is lost")
    end
  end)
end)

describe("a drain that cannot end", function()
  after_each(s.clean)

  local FLOW = [[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson" })
    local out = mw.sink.tcp("out", { connect = "127.0.0.1:9" })
    mw.rule("r", { from = input }, function(e)
      out:send(e)
      mw.log.info "on its way"
    end)
  ]]

  local function stuck(arguments)
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", line(1))
    local p = s.router(folder, FLOW, arguments)
    s.eventually(function() return p:stderr():find "on its way" and p:stderr():find "trying again" end)
    return p, folder
  end

  it("is given up after its time, with exit code 1 and the position where it was", function()
    local p, folder = stuck { "--state", "state", "--drain-timeout", "1" }
    p:kill()
    assert.equal(1, p:wait(10))
    assert.matches("could not be delivered in time", p:stderr())
    local code, out = s.moonweir("run", folder, (FLOW:gsub('tcp%("out", {.-}%)', 'stdout("out", {})')), { "--state", "state" })
    assert.same({ 0, line(1) }, { code, out })
  end)

  it("is given up at a second SIGINT", function()
    local p = stuck { "--state", "state", "--no-supervisor" }
    p:kill(s.SIGINT)
    s.eventually(function() return p:stderr():find "draining" end)
    p:kill(s.SIGINT)
    assert.equal(1, p:wait(10))
  end)
end)
