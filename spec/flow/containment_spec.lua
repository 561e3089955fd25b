local s = require "support"

--- Runs a rule's body over events; code, events that came out, dead letters.
local function run(body, input, head)
  local folder = s.folder()
  s.write(folder .. "/in.ndjson", input or '{"n":1,"d":{"x":1},"l":[1,2]}\n{"n":2,"ok":true}\n')
  local code, _, err = s.moonweir("run", folder, ([[
local mw = require "moonweir"
%s
local input = mw.source.file("input", { path = "in.ndjson" })
local out = mw.sink.file("out", { path = "out.ndjson" })
mw.rule("r", { from = input }, function(e)
  if e.ok then out:send(e) return end
  %s
end)]]):format(head or "", body), { "--state", "state", "--shards", "1", "--no-supervisor", "--quiet" })
  assert.equal(0, code, err)
  return s.events(folder .. "/out.ndjson"), s.events(folder .. "/state/dead-letters.ndjson"), err
end

describe("a rule that runs away", function()
  after_each(s.clean)

  for name, body in pairs {
    ["while"] = "while true do end",
    ["repeat"] = "local n = 0 repeat n = n + 1 until n < 0",
    ["for"] = "for i = 1, math.huge do end",
    ["goto"] = "::again:: goto again",
    ["tail calls"] = "local function f() return f() end f()",
    ["mutual recursion"] = "local f, g function f(n) return g(n) end function g(n) return f(n) end f(1)",
    ["a loop around a pcall"] = "while true do pcall(function() while true do end end) end",
    ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["a sort"] = "local t = {} for i = 1, 1e5 do t[i] = i % 7 end while true do table.sort(t, function(a, b) return a < b end) end",
    ["a gsub that calls"] = '(("x"):rep(1e5)):gsub("x", function() local n = 0 while n >= 0 do n = n + 1 end end)',
    ["a metamethod"] = "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) local _ = pcall(function() return t[1] end) while true do end",
  } do
    it("ends as a dead letter, with its line, and the next event is decided: " .. name, function()
      local out, dead = run(body)
      assert.equal(1, #out)
      assert.equal(1, #dead)
      assert.matches("flow.lua:%d+: the rule ran longer than its 100 ms", dead[1].error)
      assert.equal("r", dead[1].name)
      assert.equal(1, dead[1].event.n)
    end)
  end

  it("ends at its own timeout", function()
    local _, dead = run("while true do end", nil, 'mw.flow { timeout = "20ms" }')
    assert.matches("longer than its 20 ms", dead[1].error)
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "{}\n")
    local code = s.moonweir("run", folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      mw.rule("r", { from = input, timeout = "5ms" }, function(e) while true do end end)
    ]], { "--state", "state" })
    assert.equal(0, code)
    assert.matches("longer than its 5 ms", s.events(folder .. "/state/dead-letters.ndjson")[1].error)
  end)

  it("ends where the key of a rule does", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", '{"n":1}\n{"n":2,"ok":true}\n')
    local code = s.moonweir("run", folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input, by = function(e) while not e.ok do end return "k" end }, function(e) out:send(e) end)
    ]], { "--state", "state", "--shards", "2" })
    assert.equal(0, code)
    assert.equal(1, #s.events(folder .. "/out.ndjson"))
    assert.matches("in the key of a rule: flow.lua:4: the rule ran longer", s.events(folder .. "/state/dead-letters.ndjson")[1].error)
  end)

  it("does not shift lines, whatever the source looks like", function()
    local _, dead = run(table.concat({
      "local s = [[ do repeat function ]] --[==[ while do",
      "]==] local t = { ['do'] = 1, f = function(a, b) return a end }",
      "for _, v in ipairs { 1, 2 } do if v == 1 then goto continue end local x = v ::continue:: end",
      "local _ = t['do'], s, 'it\\'s do', \"do \\\" repeat\" -- do",
      "error('here')",
    }, "\n  "))
    assert.matches("flow.lua:11: here", dead[1].error)
  end)
end)

describe("a rule that takes too much memory", function()
  after_each(s.clean)

  for name, body in pairs {
    ["a table"] = "local t = {} while true do t[#t + 1] = { #t } end",
    ["a string"] = '("x"):rep(1e9)',
    ["strings"] = 'local t = "x" while true do t = t .. t end',
    ["a concatenation"] = 'local t = {} for i = 1, 1e4 do t[i] = ("x"):rep(1e4) end table.concat(t)',
  } do
    it("ends as a dead letter, and the next events are decided: " .. name, function()
      local out, dead = run(body, '{"n":1}\n{"ok":true}\n{"ok":true}\n{"n":2}\n{"ok":true}\n', 'mw.flow { timeout = "10s" }')
      assert.same({ 3, 2 }, { #out, #dead })
      assert.matches("the rule needs more memory than there may be", dead[1].error)
    end)
  end

  it("may have what its flow says", function()
    local out, dead = run("local t = {} for i = 1, 4e6 do t[i] = i end out:send { n = #t }", nil, 'mw.flow { memory = "256MiB", timeout = "10s" }')
    assert.same({ 2, 0 }, { #out, #dead }, dead[1] and dead[1].error)
  end)

  it("may make garbage without end", function()
    local out, dead = run("out:send { n = #(('x'):rep(2e6)) }", ("{}\n"):rep(500))
    assert.same({ 500, 0 }, { #out, #dead })
  end)
end)

describe("the sandbox", function()
  after_each(s.clean)

  --- The body must raise, and the next event be decided as ever.
  local function refuses(body, why)
    local out, dead = run(body)
    assert.equal(1, #dead, body .. " was allowed")
    assert.matches(why or "", dead[1].error)
    assert.equal(1, #out)
  end

  it("has no os, io, ffi, debug, jit, load or bytecode", function()
    run [[
      for _, name in ipairs { "os", "io", "ffi", "debug", "jit", "load", "loadstring", "loadfile", "dofile", "package",
        "getfenv", "setfenv", "collectgarbage", "newproxy", "module" } do
        if _G[name] ~= nil then out:send { found = name } end
      end
      out:send { dump = string.dump ~= nil, method = ("").dump ~= nil }
    ]]
    local out = run 'out:send { dump = string.dump ~= nil, method = ("").dump ~= nil, ffi = pcall(require, "ffi") }'
    assert.same({ dump = false, method = false, ffi = false }, out[1])
    for _, name in ipairs { "os", "io", "ffi", "debug", "jit", "load", "loadstring", "package", "getfenv", "setfenv" } do
      assert.same({ found = false }, (run(("out:send { found = _G[%q] ~= nil }"):format(name)))[1], name)
    end
    refuses('require "other"', "modules are required where the flow is loaded")
    local code, _, err = s.moonweir("check", s.folder(), 'require "../etc/passwd"')
    assert.equal(2, code)
    assert.matches("a module is named by letters", err)
  end)

  it("lets nobody write what rules share", function()
    refuses("x = 1", "'x' is not declared: write 'local x'")
    refuses("string.format = nil", "'string.format' cannot be set")
    refuses("math = {}", "'math' is not declared")
    refuses('rawset(string, "rep", nil)', "rawset cannot be used")
    refuses('rawset(_G, "x", 1)', "rawset cannot be used")
    refuses("mw.reply = nil", "mw.reply cannot be set")
    refuses("mw.log.info = nil", "mw.log cannot be changed")
    refuses("mw.env.X = 1", "the environment cannot be changed")
    refuses("mw.source.x = 1")
    refuses("out.send = nil", "a sink has no fields to set")
    refuses("out[true] = 5", "a sink has no fields to set")
    refuses("setmetatable(out, {})", "protected metatable")
    refuses("setmetatable(_G, {})", "protected metatable")
    refuses("mw.null.x = 1", "mw.null cannot be changed")
    refuses('getmetatable("").__index = {}')
    refuses("getmetatable(mw.array {}).__index = {}")
    refuses("getmetatable(mw.null).__tostring = nil")
  end)

  it("gives no way to memory through an event", function()
    for _, body in ipairs {
      "local x = e + 1", "local x = e - 1", "local x = e .. ''", "local x = #e .. e[1e9].x", "e[0].x = 1", "local x = e(1)",
      "setmetatable(e, {})", "rawget(e, true)", "rawset(e, true, 1e9)", "local x = e.d + 1", "rawset(e.d, 0, 1e9)",
      "e[true] = 1e9", "e[false] = 7 local x = e.n", "local d = e.d d[0] = 1e9 local x = d.x", "e[1.5] = 1", "e[{}] = 1",
    } do
      local out, dead = run(body .. " if true then error('not refused') end")
      assert.equal(1, #dead)
      assert.equal(1, #out)
      local allowed = dead[1].error:find "not refused"
      -- what is allowed reads nothing: a field that is not there, or a list's length
      assert.is_true(not allowed or body:find "true%] = 1e9" ~= nil or body:find "d%[0%]" ~= nil or body:find "e%[0%]" ~= nil, body .. ": " .. dead[1].error)
    end
    local out = run "out:send { mt = getmetatable(e) == nil, part = getmetatable(e.d) == nil, zero = e[0] == nil, text = tostring(e) }"
    assert.same({ mt = true, part = true, zero = true, text = "event" }, out[1])
  end)

  it("gives integers by value", function()
    local out, dead = run("local big = e.n "
      .. "if pcall(function() return big[0] end) or pcall(function() big[0] = 1 end) then error('memory') end out:send(e)", '{"n":9007199254740993}\n')
    assert.same({ 1, 0 }, { #out, #dead })
  end)

  it("has no time, no random, no addresses", function()
    local out = run "out:send { random = math.random == nil, text = tostring({}), f = tostring(print) }"
    assert.same({ random = true, text = "table", f = "function" }, out[1])
  end)

  it("refuses names that are the router's own", function()
    local code, _, err = s.moonweir("check", s.folder(), "local __mw_budget = 1")
    assert.equal(2, code)
    assert.matches("flow.lua:1: names that begin with '__mw_' are the router's own", err)
  end)
end)

describe("an event that hangs the router", function()
  after_each(s.clean)

  it("is not a batch of slow rules, each in its time", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", ('{"n":1}\n'):rep(60))
    local code, _, err = s.moonweir("run", folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      mw.rule("slow", { from = input }, function(e) while true do end end)
    ]], { "--state", "state", "--shards", "1", "--watchdog", "1s" }, nil, 60)
    assert.equal(0, code, err)
    assert.equal(60, #s.events(folder .. "/state/dead-letters.ndjson"))
    assert.is_nil(err:find "hangs")
  end)

  it("is quarantined when it did so twice, and all others are delivered", function()
    if s.build:find "tsan" or s.build:find "asan" then return end -- their own handlers take the signal
    local folder = s.folder()
    local lines = {}
    for n = 1, 500 do
      lines[n] = ('{"n":%d}\n'):format(n)
    end
    s.write(folder .. "/in.ndjson", table.concat(lines))
    local code, _, err = s.moonweir("run", folder, [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e)
        if e.n == 300 then local x = ("a"):rep(40):find(("a*"):rep(30) .. "b") end
        out:send(e)
      end)
    ]], { "--state", "state", "--shards", "2", "--watchdog", "1s" }, nil, 60)
    assert.equal(0, code, err)
    assert.matches("shard %d hangs: it has not been heard of for 1.0 s", err)
    assert.matches("an event has brought the router down twice", err)
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.same({ 1, 300 }, { #dead, dead[1].event.n })
    assert.matches("brought the router down twice", dead[1].error)
    local seen = {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      seen[e.n] = true
    end
    for n = 1, 500 do
      assert.is_true(seen[n] or n == 300, n .. " is lost")
    end
  end)
end)
