-- What can happen to a checkpoint: no room for it, bytes that change on the disk, a clock that is set back.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  mw.flow { delivery = "exactly-once", checkpoint = "50ms" }
  local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "10ms" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local count = mw.state "count"
  mw.rule("r", { from = input, by = "k" }, function(e) out:send(e, { count = count:increment(e.k, "n", 1) }) end)
]]

local function append(folder, from, to, keys)
  local lines = {}
  for n = from, to do
    lines[#lines + 1] = ('{"n":%d,"k":"k%d"}\n'):format(n, n % keys)
  end
  s.append(folder .. "/in.ndjson", table.concat(lines))
end

local function check(folder, total, keys)
  local seen = {}
  for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
    assert(not seen[e.n], e.n .. " came twice")
    seen[e.n] = true
    assert.equal(math.floor((e.n - 1) / keys) + 1, e.count, "event " .. e.n)
  end
  assert.equal(total, #seen)
end

local function has(folder, total) return #s.lines(folder .. "/out.ndjson") == total end

describe("a checkpoint", function()
  after_each(s.clean)

  it("waits for room on a full disk, and is exact over a kill -9 meanwhile", function()
    local folder = s.folder()
    local disk = s.small_disk(folder .. "/state", "4m")
    if not disk then return pending "a small tmpfs cannot be mounted here (it wants root)" end
    append(folder, 1, 2000, 1000)
    local p = s.router(folder, FLOW, { "--state", "state", "--shards", "2", "--no-supervisor" })
    s.eventually(function() return has(folder, 2000) end, 20)
    s.sleep(0.3)
    os.execute("cat /dev/zero > " .. disk .. "/ballast 2>/dev/null")
    append(folder, 2001, 9000, 3000)
    s.eventually(function() return p:stderr():find "cannot write the checkpoint" end, 20, function() return p:stderr() end)
    s.eventually(function() return has(folder, 9000) end, 20, "what need not wait goes on")
    p:kill(s.SIGKILL)
    p:wait()
    p = s.start(s.command("run", folder, FLOW, { "--state", "state", "--shards", "1", "--no-supervisor" }), { cwd = folder })
    s.sleep(0.5)
    os.execute("rm " .. disk .. "/ballast")
    s.eventually(function() return has(folder, 9000) end, 20, function() return p:stderr() end)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    local seen, counts = {}, {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      assert(not seen[e.n], e.n .. " came twice")
      seen[e.n], counts[e.k] = true, math.max(counts[e.k] or 0, e.count)
    end
    assert.equal(9000, #seen)
    local want = {}
    for n = 1, 9000 do
      local k = "k" .. n % (n <= 2000 and 1000 or 3000)
      want[k] = (want[k] or 0) + 1
    end
    assert.same(want, counts)
  end)

  it("that is damaged is found, named, and the one of the copy before it is taken", function()
    local folder = s.folder()
    append(folder, 1, 3000, 100)
    local p = s.router(folder, FLOW, { "--state", "state", "--shards", "2", "--no-supervisor" })
    s.eventually(function() return s.read(folder .. "/state/previous/data.mdb") ~= "" end, 20, function() return p:stderr() end)
    append(folder, 3001, 6000, 100)
    s.eventually(function() return has(folder, 6000) end, 20)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    local path = folder .. "/state/data.mdb"
    local text = s.read(path)
    local at = 0
    for _ = 1, 400 do -- bytes of records, wherever they lie
      at = text:find("k/state/count\0", at + 1, true) or at
      if at > 0 then
        local file = io.open(path, "r+b")
        file:seek("set", at + 18)
        file:write "\255\255"
        file:close()
      end
    end
    local code, out = s.run { s.program, "check", "--state", folder .. "/state" }
    assert.equal(1, code)
    assert(out:find "is damaged", out)
    p = s.start(s.command("run", folder, FLOW, { "--state", "state", "--shards", "1", "--no-supervisor" }), { cwd = folder })
    s.eventually(function() return p:stderr():find "is ready" end, 20, function() return p:stderr() end)
    assert(p:stderr():find("data.mdb' is damaged", 1, true) and p:stderr():find("goes on from the checkpoint of the copy", 1, true), p:stderr())
    s.eventually(function() return has(folder, 6000) end, 20, function() return p:stderr() end)
    append(folder, 6001, 7000, 100)
    s.eventually(function() return has(folder, 7000) end, 20)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    check(folder, 7000, 100)
    assert(s.read(path .. ".damaged") ~= "", "the damaged one is kept")
  end)

  it("and everything else bears a clock that is set back", function()
    local folder = s.folder()
    local library = io.popen("ls /usr/lib/*/faketime/libfaketime.so.1"):read "*l"
    assert(library, "libfaketime is there")
    s.write(folder .. "/clock", "+0\n")
    append(folder, 1, 1000, 10)
    local p = s.start(s.command("run", folder, FLOW, { "--state", "state", "--shards", "2", "--no-supervisor" }), {
      cwd = folder,
      env = { LD_PRELOAD = library, FAKETIME_TIMESTAMP_FILE = folder .. "/clock", FAKETIME_NO_CACHE = "1", FAKETIME_DONT_FAKE_MONOTONIC = "1" },
    })
    s.eventually(function() return has(folder, 1000) end, 20, function() return p:stderr() end)
    for n, clock in ipairs { "-2h", "+1d", "-3d" } do
      s.write(folder .. "/clock", clock .. "\n")
      append(folder, n * 1000 + 1, n * 1000 + 1000, 10)
      s.eventually(function() return has(folder, n * 1000 + 1000) end, 20, function() return p:stderr() end)
      s.sleep(0.2)
    end
    p:kill()
    assert.equal(0, p:wait(20), p:stderr())
    check(folder, 4000, 10)
  end)
end)
