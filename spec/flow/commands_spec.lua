local s = require "support"

local function check(flow, name) return s.moonweir(name or "check", s.folder(), flow) end

local HEAD = 'local mw = require "moonweir"\nlocal input = mw.source.stdin("input", {})\n'

describe("moonweir check", function()
  after_each(s.clean)

  it("accepts a good flow, and warns of what looks wrong", function()
    local code, out, err = check(HEAD .. 'local c = mw.channel("c")\n')
    assert.equal(0, code)
    assert.matches("flow.lua: good", out)
    assert.matches("flow.lua:2: no rule reads source 'input'", err)
    assert.matches("flow.lua:3: no rule reads channel 'c'", err)
  end)

  for text, want in pairs {
    ["local x = = 1"] = { "flow.lua:3: unexpected symbol near '='", "local x = = 1" },
    ['mw.sink.fiel("a", { path = "x" })'] = {
      "flow.lua:3: there is no sink kind 'fiel'; did you mean 'file'%?",
    },
    ['mw.sink.file("a", { pth = "x" })'] = {
      "flow.lua:3: sink 'a': there is no option 'pth'; did you mean 'path'%?",
    },
    ['mw.sink.file("a", {})'] = { "flow.lua:3: sink 'a': the option 'path' is missing" },
    ['mw.sink.file("a", { path = "x", queue = "ten" })'] = {
      "flow.lua:3: sink 'a': 'queue' must be a size such as \"64KiB\"",
    },
    ['mw.sink.file("a", { path = "x", format = "jsn" })'] = {
      "flow.lua:3: sink 'a': there is no format 'jsn'; did you mean 'json'%?",
    },
    ['mw.sink.file("a", { path = "x", rotate = { sise = 1 } })'] = {
      "in 'rotate': there is no option 'sise'; did you mean 'size'%?",
    },
    ['mw.source.http("h", { listen = ":0", acknowledge = "delivred" })'] = {
      "flow.lua:3: source 'h': 'acknowledge' cannot be 'delivred'; did you mean 'delivered'%?",
    },
    ['mw.rule("r", { form = input }, function() end)'] = {
      "flow.lua:3: rule 'r': there is no option 'form'; did you mean 'from'%?",
    },
    ['mw.rule("r", { from = input })'] = {
      "flow.lua:3: rule 'r': the third argument is the function to call",
    },
    ['mw.rule("r", { from = 5 }, function() end)'] = {
      "flow.lua:3: rule 'r': 'from' must be a source, a channel, or a list of them",
    },
    ['mw.rule("r", { from = input, when = {} }, function() end)'] = {
      "flow.lua:3: rule 'r': 'when' is empty",
    },
    ['mw.source.stdin("input", {})'] = {
      "flow.lua:3: there is a source 'input' already %(declared at flow.lua:2%)",
    },
    ['mw.rul("r")'] = { "flow.lua:3: there is no mw.rul; did you mean 'rule'%?" },
    ["local x = mw.env.NOT_SET_ANYWHERE"] = {
      "flow.lua:3: the environment variable NOT_SET_ANYWHERE is not set",
    },
    ['mw.flow { delivery = "at-most-once" }'] = {
      "flow.lua:3: flow: 'delivery' cannot be 'at%-most%-once'",
    },
    ['require "nothing.here"'] = { "flow.lua:3: cannot load module 'nothing.here'" },
  } do
    it("says what is wrong with " .. text, function()
      local code, _, err = check(HEAD .. text .. "\n")
      assert.equal(2, code)
      assert.matches(want[1], err)
      assert.matches("     3 | " .. (want[2] or text), err, 1, true)
      assert.matches("%^", err)
    end)
  end

  it("names a flow that is not there, and one that declares nothing", function()
    local code, _, err = s.run { s.program, "check", "/nowhere/flow.lua" }
    assert.equal(2, code)
    assert.matches("/nowhere/flow.lua", err)
    code, _, err = check "local x = 1"
    assert.equal(2, code)
    assert.matches("declares no source", err)
  end)

  it("loads modules beside the flow, in the same sandbox", function()
    local folder = s.folder()
    os.execute("mkdir " .. folder .. "/rules")
    s.write(
      folder .. "/rules/big.lua",
      'assert(os == nil) local mw = require "moonweir" return function(e) return e.n > mw.env("LEAST", 10) end'
    )
    s.write(folder .. "/in", '{"n":1}\n{"n":20}\n')
    local code, out, err = s.moonweir(
      "run",
      folder,
      [[
      local mw, big = require "moonweir", require "rules.big"
      local input, out = mw.source.stdin("input"), mw.sink.stdout("out")
      mw.rule("r", { from = input }, function(e) if big(e) then out:send(e) end end)
    ]],
      { "--quiet" },
      { stdin = folder .. "/in" }
    )
    assert.same({ 0, '{"n":20}\n' }, { code, out }, err)
  end)
end)

describe("moonweir test", function()
  after_each(s.clean)

  it("runs fixtures, each on a fresh flow, and shows where one fails", function()
    local code, out, err = check(HEAD .. [[
local out = mw.sink.http("out", { url = "http://127.0.0.1:1/" })
local c = mw.channel("c")
local count = 0
mw.rule("r", { from = input }, function(e)
  count = count + 1
  if e.bad then error("bad") end
  c:send(e, { count = count })
  mw.reply(e, { count = count }, 201)
end)
mw.rule("s", { from = c }, function(e) out:send(e) end)
mw.test("first", function(t) t:push(input, { n = 1 }) t:push(input, '{"n":2}\n{"n":3}\n')
  t:expect(out, 3) t:expect(out, { { n = 1, count = 1 }, { n = 2 }, { n = 3, count = 3 } }) t:expect_reply({ count = 3 }, 201)
  assert(t:sent(out)[2].n == 2) end)
mw.test("second", function(t) t:push(input, { bad = true }) t:expect_dead(1) t:expect(out, 0) end)
mw.test("third", function(t)
  t:push(input, { n = 1, x = { y = "z" } })
  t:expect(out, { { n = 1, x = { y = "w" } } })
end)
]], "test")
    assert.equal(1, code)
    assert.matches("ok    first\nok    second\nFAIL  third\n2 passed, 1 failed", out)
    assert.matches('flow.lua:19: in event 1 of sink \'out\', x.y is "z", not "w"', err)
  end)
end)

describe("fixtures", function()
  after_each(s.clean)

  local RULES = HEAD .. [[
local out = mw.sink.http("out", { url = "http://127.0.0.1:1/" })
local other = mw.sink.file("other", { path = "other" })
mw.rule("r", { from = input }, function(e)
  if e.old then
    other:send(e)
  end
  if e.unused then
    other:send({})
  end
  if e.fail then error("it failed") end
  out:send(e, { at = mw.now(), key = mw.meta(e).key })
end)
]]

  local function passes(body)
    local folder = s.folder()
    local code, out, err = s.moonweir("test", folder, RULES .. 'mw.test("t", function(t)\n' .. body .. "\nend)\n")
    assert.equal(0, code, out .. err)
  end

  local function fails(body, why)
    local folder = s.folder()
    local code, _, err = s.moonweir("test", folder, RULES .. 'mw.test("t", function(t)\n' .. body .. "\nend)\n")
    assert.equal(1, code, body .. " passes")
    assert.matches(why, err)
  end

  it("move the time of events, and say what their source knows", function()
    passes [[t:at(100) t:push(input, {}) t:advance("10s") t:push(input, {}, { key = "k" })
      t:expect(out, { { at = 100 }, { at = 110, key = "k" } })]]
    fails('t:advance("10 parsecs")', "flow.lua:%d+: t:advance wants a duration")
  end)

  it("answer what a sink sends", function()
    passes [[t:respond(out, { 503, 200 }) t:push(input, { n = 1 }) assert(t:retried(out) == 1) t:expect(out, 1)
      t:respond(out, 400) t:push(input, { n = 2 }) t:expect(out, 1) t:expect_dead(1, "refused it with status 400")
      t:expect_nothing_else()]]
  end)

  it("know that nothing else happened", function()
    passes 't:push(input, { n = 1 }) t:expect(out, 1) t:expect_nothing_else()'
    fails('t:push(input, { old = true }) t:expect(out, 1) t:expect_nothing_else()', "sink 'other' was sent 1 events that nobody expected\n  %+ {\"old\":true}")
    fails('t:push(input, { fail = true }) t:expect_nothing_else()', "a dead letter that nobody expected: flow.lua:12: it failed")
    fails('t:push(input, { fail = true }) t:expect_dead(1, "another")', 'the dead letter says "flow.lua:12: it failed", not "another"')
  end)

  it("compare in order, or in any, and show a diff", function()
    local push = 't:push(input, { n = 1 }) t:push(input, { n = 2 }) t:push(input, { n = 3 }) '
    passes(push .. 't:expect(out, { { n = 3 }, { n = 1 }, { n = 2 } }, { any_order = true })')
    fails(push .. 't:expect(out, { { n = 3 }, { n = 1 }, { n = 4 } }, { any_order = true })', "sink 'out' was not sent {\"n\":4}")
    fails(push .. 't:expect(out, { { n = 1 }, { n = 5 }, { n = 3 } })',
      'in event 2 of sink \'out\', n is 2, not 5\n    {"at":1700000000,"n":1}\n  %- {"n":5}\n  %+ {"at":1700000000,"n":2}\n')
  end)

  it("end when they run away", function()
    fails("while true do end", "flow.lua:16: the test ran longer than its 5000 ms")
    fails("while true do t:push(input, {}) end", "the test ran longer")
  end)

  it("are told as TAP, as JUnit, and with the lines that they ran", function()
    local folder = s.folder()
    local text = RULES .. 'mw.test("good <one>", function(t) t:push(input, { old = true }) end)\nmw.test("bad", function(t) t:expect(out, 1) end)\n'
    local code, out = s.moonweir("test", folder, text, { "--format", "tap", "--coverage", "cov" })
    assert.equal(1, code)
    assert.matches("^TAP version 13\n"
      .. "ok 1 %- good <one>\nnot ok 2 %- bad\n  %-%-%-\n  message: |\n    flow.lua:%d+: sink 'out' was sent 0 events, not 1: %[%]\n  %.%.%.\n1%.%.2\n$", out)
    local cov = s.read(folder .. "/cov")
    assert.matches("SF:flow.lua\n", cov)
    assert.matches("DA:7,1\n", cov) -- other:send(e)
    assert.matches("DA:10,0\n", cov) -- other:send({})
    assert.matches("LF:%d+\nLH:%d+\nend_of_record\n$", cov)
    code, out = s.moonweir("test", folder, text, { "--format", "junit" })
    assert.equal(1, code)
    assert.matches('^<%?xml version="1.0" encoding="UTF%-8"%?>\n<testsuite name="flow.lua" tests="2" failures="1">\n'
      .. '  <testcase classname="moonweir" name="good &lt;one&gt;"/>\n  <testcase classname="moonweir" name="bad">\n'
      .. '    <failure message="flow.lua:16: [^<>"]+"/>\n  </testcase>\n</testsuite>\n$', out)
    local _, err
    code, _, err = s.moonweir("test", folder, text, { "--format", "html" })
    assert.equal(2, code)
    assert.matches("%-%-format is text, tap or junit, not 'html'", err)
  end)

  it("run again when a file is saved", function()
    local folder = s.folder()
    s.write(folder .. "/flow.lua", RULES .. 'mw.test("one", function(t) t:expect(out, 1) end)\n')
    local p = s.start({ s.program, "test", "flow.lua", "--watch" }, { cwd = folder })
    s.eventually(function() return p:stdout():find "0 passed, 1 failed" end)
    s.write(folder .. "/flow.lua", RULES .. 'mw.test("two", function(t) t:expect(out, 0) end)\n')
    s.eventually(function() return p:stdout():find "ok    two\n1 passed, 0 failed" end)
    p:kill(s.SIGKILL)
    p:wait()
  end)
end)

describe("the program", function()
  after_each(s.clean)

  it("names the versions of what it is linked with", function()
    local code, out = s.run { s.program, "--version" }
    assert.equal(0, code)
    for _, name in ipairs {
      "moonweir %d",
      "LuaJIT 2",
      "libuv 1",
      "LMDB 0",
      "http%-parser 2",
      "libcurl/",
      "zlib 1",
      "zstd 1",
    } do
      assert.matches(name, out)
    end
  end)

  it("explains a wrong command line and exits with 2", function()
    for _, argv in ipairs {
      { "runn" },
      { "run" },
      { "run", "a", "b" },
      { "run", "a", "--shards", "0" },
      { "run", "a", "--shrds", "2" },
      { "run", "a", "--state" },
    } do
      table.insert(argv, 1, s.program)
      local code, _, err = s.run(argv)
      assert.equal(2, code)
      assert.matches("moonweir: ", err)
    end
    assert.equal(0, (s.run { s.program, "--help" }))
  end)

  it("shows its progress and text logs on a terminal", function()
    local folder = s.folder()
    s.write(folder .. "/flow.lua", HEAD:gsub("stdin", "generate"):gsub("{}", "{ rate = 1000, count = 1200 }")
      .. 'mw.rule("r", { from = input }, function() end)')
    local argv = { "script", "-qec", s.program .. " run flow.lua", folder .. "/terminal" }
    local code = s.run(argv, { cwd = folder })
    assert.equal(0, code)
    local text = s.read(folder .. "/terminal")
    assert.matches("info  flow: 'flow' version %x+ is ready", text)
    assert.matches("s  in %d+ %(%d+/s%)  out 0  filtered %d+  dead 0  lag 0 KiB", text)
    assert.matches("flow: in 1200, out 0, filtered 1200, dead 0", text)
  end)

  it("takes its Lua runtime from a folder where it is told", function()
    local folder = s.folder()
    os.execute(("mkdir %s/moonweir && cp %s/scripts/moonweir/*.lua %s/moonweir"):format(folder, s.root, folder))
    s.append(folder .. "/moonweir/graph.lua", "\n")
    local text = s.read(folder .. "/moonweir/graph.lua"):gsub("no rule reads source", "nobody reads source")
    s.write(folder .. "/moonweir/graph.lua", text)
    local _, _, err = s.moonweir("check", folder, HEAD, nil, { env = { MOONWEIR_SCRIPTS = folder } })
    assert.matches("nobody reads source 'input'", err)
  end)

  it("has an installer that says what is missing when it is not root", function()
    local folder = s.folder()
    os.execute(("cp -r %s/scripts %s && chmod -R a+rX %s"):format(s.root, folder, folder))
    s.append(folder .. "/scripts/dependencies.txt", "nothing a-package-that-is-not\n")
    local code, _, err = s.run { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", folder .. "/scripts/install.sh", "nothing" }
    assert.equal(1, code)
    assert.matches("only root can install them: a%-package%-that%-is%-not", err)
    assert.matches("apt%-get install a%-package%-that%-is%-not", err)
    assert.equal(0, (s.run { "sh", folder .. "/scripts/install.sh", "build" }))
  end)

  it("can be installed", function()
    local folder = s.folder()
    local code, _, err = s.run { "cmake", "--install", s.build, "--prefix", folder }
    assert.equal(0, code, err)
    assert.equal(0, (s.run { folder .. "/bin/moonweir", "--version" }))
  end)

  it("refuses a state folder that another router has, and one that it cannot write", function()
    local folder = s.folder()
    local flow = HEAD:gsub("stdin", "generate"):gsub("{}", "{ rate = 10 }")
      .. 'mw.rule("r", { from = input }, function() end)'
    local p = s.router(folder, flow)
    local code, _, err = s.moonweir("run", folder, flow, { "--state", "state" })
    assert.equal(1, code)
    assert.matches("in use by another router", err)
    p:kill()
    assert.equal(0, p:wait(10))
    code, _, err = s.moonweir("run", folder, flow, { "--state", "/proc/nothing" })
    assert.equal(1, code)
    assert.matches("cannot make the folder", err)
  end)

  it("serves metrics that promtool accepts, health and readiness", function()
    local folder = s.folder()
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0" })
      local out = mw.sink.discard("out", {})
      mw.rule("r", { from = input }, function(e) if e.n > 1 then out:send(e) end end)
    ]],
      { "--state", "state", "--admin", "127.0.0.1:0" }
    )
    local host, port = p:address "input"
    for n = 1, 3 do
      s.post(host, port, "/", ('{"n":%d}'):format(n))
    end
    s.post(host, port, "/", '{"n":"x"}')
    local ahost, aport = p:address "admin"
    local _, metrics = s.post(ahost, aport, "/metrics")
    s.write(folder .. "/metrics", metrics)
    local code, out, err = s.run { "sh", "-c", "promtool check metrics < " .. folder .. "/metrics" }
    assert.equal(0, code, out .. err)
    for _, line in ipairs {
      'moonweir_source_events_total{source="input"} 4',
      'moonweir_rule_filtered_total{rule="r"} 1',
      'moonweir_rule_failed_total{rule="r"} 1',
      'moonweir_sink_events_total{sink="out"} 2',
      'moonweir_sink_events_total{sink="dead-letters"} 1',
    } do
      assert.matches(line, metrics, 1, true)
    end
    assert.equal("alive\n", select(2, s.post(ahost, aport, "/healthz")))
    assert.equal(200, (s.post(ahost, aport, "/readyz")))
    assert.equal(404, (s.post(ahost, aport, "/nothing")))
    p:kill()
    assert.equal(0, p:wait(10))
    assert.matches("in 4, out 2, filtered 1, dead 1", p:stderr())
  end)
end)
