local s = require "support"

local HEAD = [[
local mw = require "moonweir"
local input = mw.source.http("input", { listen = "127.0.0.1:0" })
local out = mw.sink.file("out", { path = "out.ndjson" })
]]

local function flow(version, more)
  return HEAD .. ([[
mw.rule("r", { from = input }, function(e)
  if e.fail then error("failed") end
  out:send(e, { v = %d })
  mw.reply(e, { v = %d, version = mw.meta(e).version })
end)
]]):format(version, version) .. (more or "")
end

local function start(folder, text, arguments)
  local all = { "--state", "state", "--shards", "2", "--admin", "127.0.0.1:0" }
  for _, a in ipairs(arguments or {}) do
    all[#all + 1] = a
  end
  return s.router(folder, text, all)
end

local function admin(p, path)
  local host, port = p:address "admin"
  local status, body = s.post(host, port, path)
  return body, status
end

local function control(p, command, ...)
  local host, port = p:address "admin"
  return s.run { s.program, command, host .. ":" .. port, ... }
end

local function ask(p, event)
  local host, port = p:address "input"
  local _, body = s.post(host, port, "/", event or "{}")
  return s.json.decode(body)
end

--- Waits until the router answers by a version.
local function becomes(p, v)
  s.eventually(function() return ask(p).v == v end, 10, function() return "it stays as it was: " .. p:stderr() end)
end

local function stop(p)
  p:kill()
  assert.equal(0, p:wait(20), p:stderr())
end

describe("saving a flow", function()
  after_each(s.clean)

  it("reloads it, however an editor writes: renamed over, truncated and written in pieces, in bursts", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    assert.equal(1, ask(p).v)
    s.write(folder .. "/flow.new", flow(2))
    os.rename(folder .. "/flow.new", folder .. "/flow.lua")
    becomes(p, 2)
    local text = flow(3)
    s.write(folder .. "/flow.lua", "")
    s.append(folder .. "/flow.lua", text:sub(1, 50))
    s.append(folder .. "/flow.lua", text:sub(51))
    becomes(p, 3)
    for v = 4, 20 do
      s.write(folder .. "/flow.lua", flow(v))
    end
    becomes(p, 20)
    stop(p)
    assert.matches("version %x+ is live %(the files changed", p:stderr())
  end)

  it("reloads it when a module that it requires is saved, or one that was missing appears", function()
    local folder = s.folder()
    local text = HEAD .. 'local v = require "rules.version"\n'
      .. 'mw.rule("r", { from = input }, function(e) out:send(e) mw.reply(e, { v = v }) end)\n'
    os.execute("mkdir " .. folder .. "/rules")
    s.write(folder .. "/rules/version.lua", "return 1")
    local p = start(folder, text)
    assert.equal(1, ask(p).v)
    s.write(folder .. "/rules/version.lua", "return 2")
    becomes(p, 2)
    os.remove(folder .. "/rules/version.lua")
    s.eventually(function() return admin(p, "/readyz"):find "cannot load module 'rules.version'" end)
    assert.equal(2, ask(p).v)
    s.write(folder .. "/rules/version.lua", "return 3")
    becomes(p, 3)
    stop(p)
  end)

  it("reloads it when Kubernetes swaps a ConfigMap's ..data link", function()
    local folder = s.folder()
    local mount = folder .. "/config"
    os.execute(("mkdir -p %s/..2026_11_24_1"):format(mount))
    s.write(mount .. "/..2026_11_24_1/flow.lua", flow(1))
    os.execute(("cd %s && ln -s ..2026_11_24_1 ..data && ln -s ..data/flow.lua flow.lua"):format(mount))
    local p = s.start(
      { s.program, "run", "config/flow.lua", "--state", "state", "--shards", "2", "--admin", "127.0.0.1:0" },
      { cwd = folder }
    )
    s.eventually(function() return p:stderr():find "is ready" end)
    assert.equal(1, ask(p).v)
    for v = 2, 4 do
      -- what the kubelet does: a new folder, a new link, the link renamed over the old one, the old folder removed
      local new = "..2026_11_24_" .. v
      os.execute(("mkdir %s/%s"):format(mount, new))
      s.write(("%s/%s/flow.lua"):format(mount, new), flow(v))
      os.execute(("cd %s && ln -s %s ..data_tmp && mv -T ..data_tmp ..data && rm -r ..2026_11_24_%d"):format(mount, new, v - 1))
      becomes(p, v)
    end
    stop(p)
  end)

  it("does nothing with --no-watch; SIGHUP and `moonweir reload` do", function()
    local folder = s.folder()
    local p = start(folder, flow(1), { "--no-watch" })
    s.write(folder .. "/flow.lua", flow(2))
    s.sleep(0.3)
    assert.equal(1, ask(p).v)
    p:kill(s.posix.SIGHUP or 1)
    becomes(p, 2)
    s.write(folder .. "/flow.lua", flow(3))
    local code, text = control(p, "reload")
    assert.equal(0, code)
    assert.matches("version %x+ is live, after %x+ %(0 tests passed, loaded in [%d.]+ ms%)", text)
    assert.matches("sources: kept input;", text)
    assert.matches("sinks: kept out;", text)
    assert.equal(3, ask(p).v)
    code, text = control(p, "reload")
    assert.equal(0, code)
    assert.matches("nothing has changed", text)
    s.write(folder .. "/flow.lua", flow(3, "x = = 1"))
    local err
    code, text, err = control(p, "reload")
    assert.same({ 1, "" }, { code, text })
    assert.matches("flow.lua:9: unexpected symbol near '='", err)
    stop(p)
  end)

  it("refuses what is broken, and says so wherever one looks", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    for text, why in pairs {
      [flow(2, "x = = 1")] = "flow.lua:9: unexpected symbol near '='",
      [flow(2, 'mw.sink.file("x", { pth = 1 })')] = "flow.lua:9: sink 'x': there is no option 'pth'",
      [flow(2, 'mw.test("t", function(t)\n  t:push(input, {})\n  t:expect(out, 2)\nend)')] = "flow.lua:11: sink 'out' was sent 1 events, not 2",
      [flow(2, "while true do end")] = "flow.lua:9: loading the flow ran longer than its 1000 ms",
      [flow(2, "local t = {} for i = 1, 2e7 do t[i] = i end")] = "needs more memory than it may have",
      [flow(2):gsub("path = \"out", 'path = "/proc/nothing/out')] = "sink 'out': ",
    } do
      s.write(folder .. "/flow.lua", text)
      s.eventually(function() return admin(p, "/readyz"):find(why, 1, true) end, 15, function() return why .. " is not in: " .. admin(p, "/readyz") end)
      assert.equal(200, select(2, admin(p, "/readyz")))
      assert.equal(1, ask(p).v)
      assert.matches("moonweir_reload_refused 1", admin(p, "/metrics"))
      local code, _, err = control(p, "status")
      assert.equal(0, code)
      assert.matches(why, err, 1, true)
    end
    local _, _, err = control(p, "status")
    assert.matches("moonweir: ", err)
    s.write(folder .. "/flow.lua", flow(2, "x = = 1"))
    s.eventually(function() return admin(p, "/readyz"):find("unexpected symbol", 1, true) end)
    _, _, err = control(p, "status")
    assert.matches("     9 | x = = 1\n       | %^", err)
    s.write(folder .. "/flow.lua", flow(2))
    becomes(p, 2)
    assert.equal("ready\n", admin(p, "/readyz"))
    assert.matches("moonweir_reload_refused 0", admin(p, "/metrics"))
    assert.matches("refused, version %x+ goes on", p:stderr())
    local versions = s.json.decode((admin(p, "/versions")))
    assert.equal("live, on probation", versions[1].verdict)
    assert.matches("^refused: flow.lua:9: ", versions[2].verdict)
    stop(p)
  end)

  it("goes on when the file is removed", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    os.remove(folder .. "/flow.lua")
    s.eventually(function() return admin(p, "/readyz"):find "cannot read the flow" end)
    assert.equal(1, ask(p).v)
    s.write(folder .. "/flow.lua", flow(2))
    becomes(p, 2)
    stop(p)
  end)
end)

describe("what a reload keeps", function()
  after_each(s.clean)

  it("connections of a source that stays, and of one whose options change but for its address", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    local c = s.connect(p:address "input")
    local function post(path) return s.request(c, "POST", path, "{}") end
    local _, body = post "/"
    assert.equal(1, s.json.decode(body).v)
    s.write(folder .. "/flow.lua", flow(2))
    becomes(p, 2)
    _, body = post "/"
    assert.equal(2, s.json.decode(body).v)
    s.write(folder .. "/flow.lua", (flow(3):gsub('0" }', '0", path = "/new", acknowledge = "decided" }')))
    s.eventually(function() return post "/new" == 200 end)
    _, body = post "/new"
    assert.equal(3, s.json.decode(body).v)
    assert.equal(404, (post "/"))
    c:close()
    stop(p)
    assert.matches("1 changed in place", p:stderr())
  end)

  it("the version that decided an event in its dead letter, its metadata and the metrics", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    local first = ask(p).version
    ask(p, '{"fail":true}')
    s.write(folder .. "/flow.lua", flow(2))
    becomes(p, 2)
    local second = ask(p).version
    ask(p, '{"fail":true}')
    local letters = s.events(folder .. "/state/dead-letters.ndjson")
    assert.same({ first, second }, { letters[1].version, letters[2].version })
    assert.matches('moonweir_version_events_total{version="' .. second .. '",number="2"} %d+', admin(p, "/metrics"))
    stop(p)
  end)

  it("requests in flight of a source that is removed, or goes to another port", function()
    local folder = s.folder()
    -- nothing can be delivered, so requests stay in flight
    local text = HEAD:gsub("file%(.-%)", 'tcp("out", { connect = "127.0.0.1:9" })')
      .. 'local other = mw.source.generate("other", { rate = 10 })\n'
      .. 'mw.rule("r", { from = input }, function(e) out:send(e) mw.reply(e, { v = 1 }) end)\n'
    local p = start(folder, text)
    local c = s.connect(p:address "input")
    c:send "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}"
    s.sleep(0.1)
    local server = assert(require("socket").bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    -- the source goes, and the sink gets an address that works
    local removed = text:gsub("local input[^\n]*\n", ""):gsub("from = input", "from = other"):gsub("mw.reply[^\n]*end%)", "end)")
    removed = removed:gsub("127.0.0.1:9\"", "127.0.0.1:" .. port .. '"')
    s.write(folder .. "/flow.lua", removed)
    local status, body = s.read_answer(c)
    assert.same({ 200, '{"v":1}' }, { status, body }, p:stderr())
    s.eventually(function() return p:stderr():find "1 drained" end)
    assert.is_nil((require("socket").connect(p:address "input")))
    server:close()
    p:kill(s.SIGKILL)
  end)

  it("requests in flight of a source that goes to another port, which is open at once", function()
    local folder = s.folder()
    local server = assert(require("socket").bind("127.0.0.1", 0))
    local _, sink_port = server:getsockname()
    local new_port = s.free_port()
    local text = HEAD:gsub("file%(.-%)", 'tcp("out", { connect = "127.0.0.1:9" })')
      .. 'mw.rule("r", { from = input }, function(e) out:send(e) mw.reply(e, { v = 1 }) end)\n'
    local p = start(folder, text)
    local c = s.connect(p:address "input")
    c:send "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}"
    s.sleep(0.1)
    s.write(folder .. "/flow.lua", (text:gsub("127.0.0.1:9\"", "127.0.0.1:" .. sink_port .. '"'):gsub("127.0.0.1:0", "127.0.0.1:" .. new_port):gsub("v = 1", "v = 2")))
    local status, body = s.read_answer(c)
    assert.same({ 200, '{"v":1}' }, { status, body }, p:stderr())
    status, body = s.post("127.0.0.1", new_port, "/", "{}")
    assert.same({ 200, '{"v":2}' }, { status, body })
    assert.is_nil((require("socket").connect(p:address "input")))
    server:close()
    p:kill(s.SIGKILL)
  end)

  it("connections of tcp and unix, in the middle of an event too, which go on by the new options", function()
    local folder = s.folder()
    local function text(options)
      return ([[
        local mw = require "moonweir"
        local input = mw.source.tcp("input", { listen = "127.0.0.1:0", %s })
        local table = mw.source.unix("table", { path = "socket", format = "csv", %s })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        mw.rule("r", { from = { input, table } }, function(e) out:send(e) end)
      ]]):format(options, options)
    end
    local p = start(folder, text 'limit = "16KiB"')
    local c, d = s.connect(p:address "input"), require "socket.unix"()
    assert(d:connect(folder .. "/socket"))
    d:settimeout(10)
    local function takes(want)
      s.eventually(function() return s.read(folder .. "/out.ndjson") == want end, 10, function() return s.read(folder .. "/out.ndjson") .. p:stderr() end)
    end
    local function reloads(options, times)
      s.write(folder .. "/flow.lua", text(options))
      s.eventually(function() return select(2, p:stderr():gsub("2 changed in place", "")) == times end, 10, function() return p:stderr() end)
    end
    c:send '{"n":1}\n{"n":'
    takes '{"n":1}\n'
    d:send 'a,b\n1,2\n"x'
    takes '{"n":1}\n{"a":"1","b":"2"}\n'
    reloads('limit = "1KiB"', 1)
    c:send '2}\n'
    takes '{"n":1}\n{"a":"1","b":"2"}\n{"n":2}\n'
    d:send 'y",3\n'
    takes '{"n":1}\n{"a":"1","b":"2"}\n{"n":2}\n{"a":"xy","b":"3"}\n'
    c:send(("x"):rep(2000))
    s.eventually(function() return s.events(folder .. "/state/dead-letters.ndjson")[1] end)
    assert.matches("larger than the 1024 bytes", s.events(folder .. "/state/dead-letters.ndjson")[1].error)
    c:send "x\n"
    reloads('limit = "1KiB", max_connections = 1, timeout = "1s"', 2)
    local more = require "socket.unix"()
    assert(more:connect(folder .. "/socket"))
    more:settimeout(10)
    assert.equal("closed", select(2, more:receive(1)))
    s.eventually(function() return p:stderr():find("more than 1 connections", 1, true) end)
    assert.equal("closed", select(2, c:receive(1)))
    assert.equal("closed", select(2, d:receive(1)))
    stop(p)
  end)

  it("a listener's socket: who connects while another instance takes its place is neither refused nor unheard", function()
    local folder = s.folder()
    local function text(i)
      return ([[
        local mw = require "moonweir"
        local input = mw.source.tcp("input", { listen = "127.0.0.1:0", format = "%s" })
        local local_input = mw.source.unix("unix", { path = "socket", format = "%s" })
        local out = mw.sink.file("out", { path = "out.ndjson" })
        mw.rule("r", { from = { input, local_input } }, function(e) out:send(e, { v = %d }) end)
      ]]):format(i % 2 == 0 and "ndjson" or "lines", i % 2 == 0 and "ndjson" or "lines", i)
    end
    local p = start(folder, text(0))
    local host, port = p:address "input"
    local sent = 0
    local function connect()
      if sent % 2 == 0 then return s.connect(host, port) end
      local c = require "socket.unix"()
      assert(c:connect(folder .. "/socket"))
      return c
    end
    for i = 1, 24 do
      s.write(folder .. "/flow.lua", text(i))
      for _ = 1, 20 do
        local c = connect()
        sent = sent + 1
        s.sleep(0.002)
        assert(c:send(('{"n":%d}\n'):format(sent)))
        c:shutdown "send"
        c:settimeout(10)
        assert.equal("closed", select(2, c:receive "*l"))
        c:close()
      end
    end
    s.eventually(function() return p:stderr():find "2 replaced" end)
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == sent end, 10, function()
      return #s.lines(folder .. "/out.ndjson") .. " of " .. sent .. ": " .. p:stderr()
    end)
    -- a version that took the sockets, and was refused then, has taken nothing away
    local taken = assert(require("socket").bind("127.0.0.1", 0))
    local more = ('mw.source.tcp("other", { listen = "127.0.0.1:%d" })'):format((select(2, taken:getsockname())))
    s.write(folder .. "/flow.lua", (text(25):gsub("local out", more .. "\nlocal out")))
    s.eventually(function() return p:stderr():find "another program has the port" end, 10, function() return p:stderr() end)
    for _ = 1, 2 do
      local c = connect()
      sent = sent + 1
      assert(c:send(('{"n":%d}\n'):format(sent)))
      c:close()
    end
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") == sent end, 10, function() return p:stderr() end)
    taken:close()
    stop(p)
  end)

  it("the place in a file whose source changes, and what its sinks have", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local function text(block, sync)
      return ([[
        local mw = require "moonweir"
        local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", block = "%dKiB" })
        local out = mw.sink.file("out", { path = "out.ndjson", sync = "%s" })
        mw.rule("r", { from = input, by = "k" }, function(e) out:send(e) end)
      ]]):format(block, sync)
    end
    local p = start(folder, text(4, "never"))
    local n = 0
    for round = 1, 12 do
      local lines = {}
      for _ = 1, 500 do
        n = n + 1
        lines[#lines + 1] = ('{"n":%d,"k":%d}\n'):format(n, n % 7)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines))
      s.write(folder .. "/flow.lua", text(4 + round, round % 2 == 0 and "always" or "never"))
      s.sleep(0.05)
    end
    s.eventually(function() return #s.lines(folder .. "/out.ndjson") >= n end, 10, function() return p:stderr() end)
    stop(p)
    local last, seen = {}, {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      assert.is_nil(seen[e.n], "twice: " .. e.n)
      seen[e.n] = true
      assert.is_true((last[e.k] or 0) < e.n, "out of order")
      last[e.k] = e.n
    end
    assert.equal(n, #s.events(folder .. "/out.ndjson"))
  end)
end)

describe("going back", function()
  after_each(s.clean)

  it("is one command, and the versions are listed with what became of them", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    s.write(folder .. "/flow.lua", flow(2))
    becomes(p, 2)
    local code, text = control(p, "rollback")
    assert.equal(0, code, text)
    assert.equal(1, ask(p).v)
    code, text = control(p, "versions")
    assert.equal(0, code)
    assert.matches("3 +%x+ +%S+ +%S+ +live\n2 +%x+ +%S+ +%S+ +rolled back: somebody asked for it\n1 +%x+ +%S+ +%S+ +replaced", text)
    local _, _, err = control(p, "rollback")
    assert.matches("there is no version to go back to", err)
    -- the file still has what was rolled back: it is not taken again until it changes
    s.sleep(1.2)
    assert.equal(1, ask(p).v)
    s.write(folder .. "/flow.lua", flow(3))
    becomes(p, 3)
    stop(p)
  end)

  it("is told only when it has happened", function()
    local folder = s.folder()
    local port = s.free_port()
    local p = start(folder, (flow(1):gsub("127.0.0.1:0", "127.0.0.1:" .. port)))
    s.write(folder .. "/flow.lua", flow(2))
    s.eventually(function() return admin(p, "/status"):find('"number":2', 1, true) end)
    s.eventually(function() return not require("socket").connect("127.0.0.1", port) end)
    local taken = assert(require("socket").bind("127.0.0.1", port))
    local code, _, err = control(p, "rollback")
    assert.equal(1, code)
    assert.matches("cannot listen on", err)
    local versions = s.json.decode((admin(p, "/versions")))
    assert.matches("^refused: ", versions[1].verdict)
    assert.matches("^live", versions[2].verdict)
    assert.matches('moonweir_reloads_total{result="rolled_back"} 0', admin(p, "/metrics"))
    taken:close()
    stop(p)
  end)

  it("comes by itself when more events fail than before", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    for _ = 1, 120 do
      ask(p)
    end
    local bad = flow(2):gsub("if e.fail", "if e.n %% 2 == 0")
    s.write(folder .. "/flow.lua", bad)
    s.eventually(function() return admin(p, "/status"):find('"number":2', 1, true) end)
    local n = 0
    s.eventually(function()
      for _ = 1, 20 do
        n = n + 1
        ask(p, ('{"n":%d}'):format(n))
      end
      return p:stderr():find "is rolled back to %x+: %d+%.%d+ %% of its events failed %(0%.00 %% before%)"
    end, 20)
    becomes(p, 1)
    assert.matches("rolled back: ", admin(p, "/versions"))
    assert.matches('moonweir_reloads_total{result="rolled_back"} 1', admin(p, "/metrics"))
    stop(p)
  end)

  it("comes by itself when rules take longer than before", function()
    local folder = s.folder()
    local p = start(folder, flow(1, 'mw.flow { probation = "60s", rollback = { time = 5, events = 10 } }'))
    for _ = 1, 50 do
      ask(p)
    end
    local slow = flow(2, 'mw.flow { probation = "60s", rollback = { time = 5, events = 10 } }')
      :gsub("if e.fail", "local t = {} for i = 1, 20000 do t[i] = tostring(i) end if e.fail")
    s.write(folder .. "/flow.lua", slow)
    s.eventually(function() return admin(p, "/status"):find('"number":2', 1, true) end)
    s.eventually(function()
      ask(p)
      return p:stderr():find "is rolled back to %x+: its rules take [%d.]+ us for an event %([%d.]+ us before%)"
    end, 30, function() return p:stderr() end)
    becomes(p, 1)
    stop(p)
  end)

  it("does not come without probation", function()
    local folder = s.folder()
    local p = start(folder, flow(1), { "--probation", "0" })
    ask(p)
    s.write(folder .. "/flow.lua", (flow(2):gsub("if e.fail", "if not e.ok")))
    s.eventually(function() return admin(p, "/status"):find('"number":2', 1, true) end)
    for _ = 1, 200 do
      ask(p)
    end
    s.sleep(0.6)
    assert.matches('"number":2', admin(p, "/status"))
    stop(p)
  end)
end)

describe("the admin address", function()
  after_each(s.clean)

  it("drains the router, and says what it is asked wrongly", function()
    local folder = s.folder()
    local p = start(folder, flow(1))
    assert.equal(405, select(2, admin(p, "/reload")))
    assert.equal(404, select(2, admin(p, "/nothing")))
    local code, text = control(p, "status")
    assert.equal(0, code)
    assert.matches("flow: running, version %x+ %(number 1%), 2 shards", text)
    code, text = control(p, "status", "--json")
    assert.equal(0, code)
    assert.equal("running", s.json.decode(text).phase)
    assert.equal(0, (control(p, "drain")))
    assert.equal(0, p:wait(10))
    local _, err
    code, _, err = s.run { s.program, "status", "127.0.0.1:1" }
    assert.equal(1, code)
    assert.matches("no router answers at 127.0.0.1:1", err)
  end)
end)
