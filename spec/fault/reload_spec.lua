local s = require "support"

local function flow(version, more)
  return ([[
local mw = require "moonweir"
local input = mw.source.http("input", { listen = "127.0.0.1:0" })
local lines = mw.source.file("lines", { path = "in.ndjson", follow = true, poll = "10ms", block = "16KiB" })
local out = mw.sink.file("out", { path = "out.ndjson" })
local copy = mw.sink.file("copy", { path = "copy.ndjson" })
mw.rule("answer", { from = input, by = "c" }, function(e)
  out:send(e, { v = %d })
  mw.reply(e, { v = %d })
end)
mw.rule("copy", { from = lines, by = "k" }, function(e) copy:send(e) end)
mw.test("answers", function(t) t:push(input, { n = 1, c = "x" }) t:expect_reply { v = %d } end)
%s]]):format(version, version, version, more or "")
end

local BROKEN = {
  "local x = = 1",
  'mw.sink.file("other", { pth = "x" })',
  'mw.test("fails", function(t) t:push(input, { n = 1 }) t:expect(out, 7) end)',
  "while true do end",
  "local t = {} for i = 1, 2e7 do t[i] = i end",
  "mw.rule('r2', {}, function() end)",
  "os.exit(1)",
  "x = 1",
  "require 'nothing'",
  'mw.test("runs away", function(t) t:push(input, { n = 1 }) error("wrong") end)',
}

local function reloads(p)
  local host, port = p:address "admin"
  local _, body = s.post(host, port, "/status")
  local r = s.json.decode(body).reloads
  return r.accepted, r.refused
end

--- Saves a version and waits until the router has taken or refused it.
local function save(p, folder, text, broken)
  local accepted, refused = reloads(p)
  s.write(folder .. "/.flow.new", text)
  os.rename(folder .. "/.flow.new", folder .. "/flow.lua")
  s.eventually(function()
    local a, r = reloads(p)
    if a + r > accepted + refused then
      assert.equal(broken and refused + 1 or refused, r, "it was " .. (broken and "accepted" or "refused") .. ": " .. p:stderr():sub(-600))
      return true
    end
  end, 20, function() return "no reload: " .. p:stderr():sub(-800) end)
end

--- Every number up to `last` is in the file once.
local function numbers(path)
  local seen, twice, count = {}, 0, 0
  for line in io.lines(path) do
    local n = tonumber(line:match '"n":(%d+)')
    if seen[n] then twice = twice + 1 else count = count + 1 end
    seen[n] = true
  end
  return seen, count, twice
end

local function finish_load(client, folder)
  s.write(folder .. "/stop", "")
  client:wait(30)
  local answered, versions, done, bad = {}, {}, nil, {}
  for line in io.lines(folder .. "/answers") do
    local n, v = line:match "^(%d+) (%d+)$"
    if n then
      answered[#answered + 1] = tonumber(n)
      versions[tonumber(v)] = true
    elseif line:match "^done" then
      done = line
    else
      bad[#bad + 1] = line
    end
  end
  return answered, versions, done, bad
end

local function start_load(p, folder, connections)
  local host, port = p:address "input"
  os.remove(folder .. "/stop")
  return s.start(
    { "luajit", s.root .. "/spec/fault/load_client.lua", host, tostring(port), tostring(connections), folder .. "/answers", folder .. "/stop" }
  )
end

--- Resident KiB of the router that the supervisor `p` runs.
local function resident(p)
  local child = io.popen("pgrep -P " .. p.pid):read "*n"
  return tonumber(s.read("/proc/" .. child .. "/status"):match "VmRSS:%s*(%d+)")
end

describe("reloads under load", function()
  after_each(s.clean)

  it("answer every request, deliver every event once, and leave a running version alone when they are broken", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(folder, flow(1), { "--shards", "2", "--state", "state", "--admin", "127.0.0.1:0", "--probation", "0" })
    local client = start_load(p, folder, 64)
    local n, version = 0, 1
    local rounds = s.build:find "san$" and 48 or 200
    local resident_at_first
    for i = 1, rounds do
      if i == 40 then resident_at_first = resident(p) end
      local lines = {}
      for _ = 1, 200 do
        n = n + 1
        lines[#lines + 1] = ('{"n":%d,"k":"%d"}\n'):format(n, n % 50)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines))
      if i % 4 == 0 then
        save(p, folder, flow(version, BROKEN[i / 4 % #BROKEN + 1] .. "\n-- " .. i), true)
      else
        version = version + 1
        save(p, folder, flow(version))
      end
    end
    local grown = resident(p) - resident_at_first
    if not s.build:find "san$" then assert.is_true(grown < 40000, "it grew by " .. grown .. " KiB") end
    local answered, versions, done, bad = finish_load(client, folder)
    assert.same({}, bad)
    assert.matches("bad=0 refused=0", done)
    s.eventually(function() return #s.lines(folder .. "/copy.ndjson") >= n end, 20)
    p:kill()
    assert.equal(0, p:wait(20), p:stderr():sub(-2000))
    local seen, _, twice = numbers(folder .. "/out.ndjson")
    assert.equal(0, twice)
    for _, number in ipairs(answered) do
      assert.is_true(seen[number], number .. " was answered and is lost")
    end
    local count
    _, count, twice = numbers(folder .. "/copy.ndjson")
    assert.same({ n, 0 }, { count, twice })
    assert.is_true(versions[version] and versions[1], "the first and the last version answered")
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
    print(("      (%d reloads, a quarter of them broken; %s; resident memory %+d KiB)"):format(rounds, done, grown))
  end)

  it("answer who has connected when the source goes to another port", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(folder, flow(1), { "--shards", "2", "--state", "state", "--admin", "127.0.0.1:0" })
    local client = start_load(p, folder, 64)
    s.eventually(function() return #s.read(folder .. "/answers") > 100000 end, 20)
    local host, port = p:address "input"
    save(p, folder, (flow(2):gsub("127.0.0.1:0", "127.0.0.2:0")))
    s.eventually(function() return s.connect(p:address "admin") and not require("socket").connect(host, port) end)
    local answered, _, done, bad = finish_load(client, folder)
    assert.same({}, bad)
    assert.matches("bad=0 ", done) -- refused are only those who came later
    p:kill()
    assert.equal(0, p:wait(20), p:stderr():sub(-2000))
    local seen, _, twice = numbers(folder .. "/out.ndjson")
    assert.equal(0, twice)
    for _, number in ipairs(answered) do
      assert.is_true(seen[number], number .. " was answered and is lost")
    end
  end)

  it("survive kill -9 in the middle", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local n = 0
    for round = 1, 10 do
      s.write(folder .. "/flow.lua", flow(round))
      local p = s.start(
        { s.program, "run", "flow.lua", "--state", "state", "--shards", "2", "--no-supervisor", "--quiet" },
        { cwd = folder }
      )
      local lines = {}
      for _ = 1, 2000 do
        n = n + 1
        lines[#lines + 1] = ('{"n":%d,"k":"%d"}\n'):format(n, n % 50)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines))
      s.sleep(0.05)
      for i = 1, 3 do
        s.write(folder .. "/flow.lua", flow(round * 10 + i))
        s.sleep(math.random() * 0.03)
      end
      p:kill(s.SIGKILL)
      p:wait()
    end
    local p = s.router(folder, flow(1000))
    s.eventually(function()
      local _, count = numbers(folder .. "/copy.ndjson")
      return count == n
    end, 20)
    p:kill()
    assert.equal(0, p:wait(10))
  end)
end)

describe("a reload while a sink is down with a full queue", function()
  after_each(s.clean)

  local EVENTS = 20000
  local function event(n) return ('{"n":%d,"pad":"%s"}'):format(n, ("x"):rep(200)) end

  local function text(address, name)
    return ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "10ms", block = "4KiB" })
      local out = mw.sink.tcp("%s", { connect = "127.0.0.1:%d", queue = "8KiB" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(name, address)
  end

  local function start()
    local folder = s.folder()
    local lines = {}
    for n = 1, EVENTS do
      lines[n] = event(n) .. "\n"
    end
    s.write(folder .. "/in.ndjson", table.concat(lines))
    local p = s.router(folder, text(9, "out"), { "--state", "state", "--admin", "127.0.0.1:0", "--drain-timeout", "1" })
    s.eventually(function() return p:stderr():find "trying again" end)
    return p, folder
  end

  it("sends what waited to the new address, in order, once", function()
    local p, folder = start()
    local server = assert(require("socket").bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    save(p, folder, text(port, "out"))
    server:settimeout(10)
    local c = assert(server:accept())
    c:settimeout(10)
    for n = 1, EVENTS do
      assert.equal(event(n), c:receive "*l")
    end
    p:kill()
    assert.equal(0, p:wait(10))
    c:close()
    server:close()
  end)

  it("puts what waited into the dead letters when the sink has gone, and the flow goes on", function()
    local p, folder = start()
    local server = assert(require("socket").bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    save(p, folder, text(port, "renamed"))
    server:settimeout(10)
    local c = assert(server:accept())
    c:settimeout(10)
    local seen = {}
    while not seen[EVENTS] do
      local n = tonumber(assert(c:receive "*l"):match '"n":(%d+)')
      assert.is_nil(seen[n])
      seen[n] = true
    end
    s.eventually(function()
      for _, letter in ipairs(s.events(folder .. "/state/dead-letters.ndjson")) do
        assert.matches("a reload removed the sink", letter.error)
        seen[letter.event.n] = true
      end
      for n = 1, EVENTS do
        if not seen[n] then return false end
      end
      return true
    end, 10)
    p:kill()
    assert.equal(0, p:wait(10), p:stderr())
    c:close()
    server:close()
  end)
end)
