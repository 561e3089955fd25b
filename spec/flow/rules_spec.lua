local s = require "support"

--- Runs a flow body over lines and gives the events that the sink `out` wrote (decoded), the raw
--- text, and the folder.
local function run(lines, body, arguments)
  local folder = s.folder()
  s.write(
    folder .. "/in.ndjson",
    type(lines) == "table" and table.concat(lines, "\n") .. "\n" or lines
  )
  local flow = [[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", block = "8KiB" })
    local out = mw.sink.file("out", { path = "out.ndjson" })
  ]] .. body
  local code, _, err =
    s.moonweir("run", folder, flow, arguments or { "--state", "state", "--shards", "1" })
  return {
    code = code,
    err = err,
    folder = folder,
    text = s.read(folder .. "/out.ndjson"),
    dead = s.events(folder .. "/state/dead-letters.ndjson"),
  }
end

local function rule(code) return 'mw.rule("r", { from = input }, function(e) ' .. code .. " end)" end

describe("an event in a rule", function()
  after_each(s.clean)

  it("reads fields, nested fields and elements", function()
    local r = run(
      { '{"a":1,"b":{"c":["x",{"d":true}]},"n":null}' },
      rule [[
      out:send { a = e.a, c1 = e.b.c[1], d = e.b.c[2].d, missing = e.zzz == nil, null = e.n == mw.null, deep = e.b.c[9] == nil }
    ]]
    )
    assert.equal(
      '{"a":1,"c1":"x","d":true,"deep":true,"missing":true,"null":true}\n',
      r.text,
      r.err
    )
  end)

  it("keeps integers beyond 2^53 exact, and compares them", function()
    local r = run(
      { '{"i":9007199254740993,"u":18446744073709551615,"m":-9223372036854775808}' },
      rule [[
      out:send { same = e.i == 9007199254740993LL, less = e.i < 9007199254740994LL, i = e.i, u = e.u, m = e.m }
    ]]
    )
    assert.equal(
      '{"i":9007199254740993,"less":true,"m":-9223372036854775808,"same":true,"u":18446744073709551615}\n',
      r.text,
      r.err
    )
  end)

  it("takes the last of duplicate keys, whatever came before", function()
    local r = run({
      '{"a":1,"a":2,"o":{"x":1,"y":2},"o":{"x":3}}',
      '{"a":1,"a":2,"o":{"x":1,"y":2},"o":{"x":3}}',
    }, rule "out:send { a = e.a, x = e.o.x, y = e.o.y == nil }")
    assert.equal(('{"a":2,"x":3,"y":true}\n'):rep(2), r.text, r.err)
  end)

  it("understands escapes in keys and values", function()
    local r = run(
      { [[{"\u0061b":"caf\u00e9 \"x\"\n\ud83d\ude00"}]] },
      rule "out:send { v = e.ab, len = #e.ab }"
    )
    assert.equal('{"len":14,"v":"café \\"x\\"\\n😀"}\n', r.text, r.err)
  end)

  it("leaves byte for byte as it came, but for what was assigned", function()
    local r = run({
      [[{ "z" : 1.50 , "a":[ ] , "big":123456789012345678901234567890, "e":"\u00e9" , "n":null }]],
    }, rule [[e.a2 = "new"; e.n = 5; e.z = nil; out:send(e)]])
    assert.equal(
      [[{ "a":[ ] , "big":123456789012345678901234567890, "e":"\u00e9" , "n":5 ,"a2":"new"}]]
        .. "\n",
      r.text,
      r.err
    )
  end)

  it("shows what was assigned, nested, replaced and removed", function()
    local r = run(
      { '{"d":{"os":"x","v":1},"l":[1,2]}' },
      rule [[
      e.d.os = "y"; e.d.new = { deep = 1 }; e.d.v = nil; e.l[2] = "two"; e.l[3] = 3; e.t = { 1 }; e.t = nil
      out:send(e)
      out:send { os = e.d.os, deep = e.d.new.deep, v = e.d.v == nil, l2 = e.l[2], t = e.t == nil, all = mw.decode(e.d) }
    ]]
    )
    assert.equal(
      '{"d":{"os":"y","new":{"deep":1}},"l":[1,"two",3]}\n'
        .. '{"all":{"new":{"deep":1},"os":"y"},"deep":1,"l2":"two","os":"y","t":true,"v":true}\n',
      r.text,
      r.err
    )
  end)

  it("shows what one rule assigns to no other rule", function()
    local r = run(
      { '{"a":1}' },
      rule "e.a = 2; out:send(e)" .. '\nmw.rule("s", { from = input }, function(e) out:send(e) end)'
    )
    assert.equal('{"a":2}\n{"a":1}\n', r.text, r.err)
  end)

  it("adds the fields that send is given, without changing the event", function()
    local r = run(
      { '{"a":1,"r":0}' },
      rule [[out:send(e, { r = 0.5, why = "x", list = mw.array {}, n = mw.null }) out:send(e)]]
    )
    assert.equal('{"a":1,"r":0.5,"list":[],"n":null,"why":"x"}\n{"a":1,"r":0}\n', r.text, r.err)
  end)

  it("is walked by pairs and ipairs, and measured by mw.length", function()
    local r = run(
      { '{"a":1,"l":[5,6,7]}' },
      rule [[
      local n, sum = 0, 0
      for k in pairs(e) do n = n + 1 end
      for _, v in ipairs(e.l) do sum = sum + v end
      out:send { n = n, sum = sum, len = mw.length(e.l) }
    ]]
    )
    assert.equal('{"len":3,"n":2,"sum":18}\n', r.text, r.err)
  end)

  it("is refused when it is kept beyond its rule", function()
    local r = run(
      { '{"a":1}', '{"a":2}' },
      [[
      local kept
      mw.rule("r", { from = input }, function(e) if kept then out:send { a = kept.a } end kept = e end)
    ]]
    )
    assert.equal("", r.text)
    assert.equal(1, #r.dead)
    assert.matches("this event is over", r.dead[1].error)
  end)

  it("is never another event, however many paths are read", function()
    local lines, want = {}, {}
    for i = 1, 700 do
      lines[i] = ('{"f%d":%d}'):format(i, i)
      want[i] = ('{"v":%d}\n'):format(i)
    end
    local r = run(
      lines,
      [[local n = 0
      mw.rule("r", { from = input }, function(e) n = n + 1; out:send { v = e["f" .. n] } end)]]
    )
    assert.equal(table.concat(want), r.text, r.err)
  end)
end)

describe("a rule", function()
  after_each(s.clean)

  it("that raises an error costs one dead letter, whole, and what it sent is taken back", function()
    local r = run(
      { '{"n":1}', '{"n":2,"x":{}}', '{"n":3}' },
      rule [[out:send(e) if e.n == 2 then error("no twos") end]]
    )
    assert.equal(0, r.code)
    assert.equal('{"n":1}\n{"n":3}\n', r.text)
    assert.equal(1, #r.dead)
    local d = r.dead[1]
    assert.matches("flow.lua:4: no twos", d.error)
    assert.same({ "rule", "r", "input", 8 }, { d.stage, d.name, d.source, d.position })
    assert.same({ n = 2, x = {} }, d.event)
    assert.matches("^%x+$", d.version)
  end)

  it("that raises an error does not keep the other rules from the event", function()
    local r = run(
      { '{"n":1}' },
      rule "error({})" .. 'mw.rule("s", { from = input }, function(e) out:send(e) end)'
    )
    assert.equal('{"n":1}\n', r.text)
    assert.equal("r", r.dead[1].name)
  end)

  it("with a runtime error in one event of a million loses that event only", function()
    local lines = {}
    for i = 1, 1000000 do
      lines[i] = '{"n":1}'
    end
    lines[765432] = '{"n":"x"}'
    local r =
      run(lines, rule "if e.n > 0 then out:send(e) end", { "--state", "state", "--shards", "2" })
    assert.equal(1, #r.dead)
    assert.equal(8 * 765431, r.dead[1].position)
    assert.equal(8 * 999999, #r.text)
  end)

  for _, count in ipairs { 1, 3, 4, 30, 300 } do
    it("is found by its condition among " .. count .. ", in order", function()
      local rules, want = {}, {}
      for i = 1, count do
        rules[i] = ('mw.rule("r%d", { from = input, when = { k = { "v%d", "all" }, ok = true } }, function(e) out:send { r = %d, n = e.n } end)'):format(
          i,
          i,
          i
        )
      end
      rules[#rules + 1] =
        'mw.rule("last", { from = input }, function(e) if e.n == 0 then out:send { r = "last", n = 0 } end end)'
      local lines = {
        ('{"n":1,"k":"v%d","ok":true}'):format(count),
        '{"n":2,"k":"v1","ok":false}',
        '{"n":3,"k":"nobody","ok":true}',
        '{"n":4}',
        '{"n":5,"k":"\\u0076' .. '1","ok":true}',
        '{"n":0,"k":"all","ok":true}',
      }
      want[1] = ('{"n":1,"r":%d}'):format(count)
      want[2] = '{"n":5,"r":1}'
      for i = 1, count do
        want[#want + 1] = ('{"n":0,"r":%d}'):format(i)
      end
      want[#want + 1] = '{"n":0,"r":"last"}'
      local r = run(lines, table.concat(rules, "\n"))
      assert.equal(table.concat(want, "\n") .. "\n", r.text, r.err)
    end)
  end

  it("works in a chain of two hundred without conditions", function()
    local rules, want = {}, {}
    for i = 1, 200 do
      rules[i] = ('mw.rule("r%d", { from = input }, function(e) if e.n %% 200 == %d then out:send(e, { r = %d }) end end)'):format(
        i,
        i - 1,
        i
      )
    end
    local lines = {}
    for n = 0, 999 do
      lines[#lines + 1] = ('{"n":%d}'):format(n)
      want[#want + 1] = ('{"n":%d,"r":%d}\n'):format(n, n % 200 + 1)
    end
    local r = run(lines, table.concat(rules, "\n"))
    assert.equal(table.concat(want), r.text, r.err)
  end)

  for _, shards in ipairs { "1", "2", "4" } do
    it("with a key sees the events of a key in order, on " .. shards .. " shards", function()
      local lines = {}
      for i = 1, 20000 do
        lines[i] = ('{"n":%d,"k":"k%d","j":{"x":%d}}'):format(i, i % 97, i % 13)
      end
      local r = run(
        lines,
        [[
        local last = {}
        mw.rule("r", { from = input, by = "k" }, function(e)
          if last[e.k] and last[e.k] ~= e.n - 97 then error("out of order") end
          last[e.k] = e.n
          out:send(e)
        end)
        mw.rule("s", { from = input, by = { "j.x" } }, function(e)
          local key = "s" .. e.j.x
          if last[key] and last[key] ~= e.n - 13 then error("out of order") end
          last[key] = e.n
        end)
        mw.rule("f", { from = input, by = function(e) return e.n % 7 end }, function(e)
          local key = "f" .. e.n % 7
          if last[key] and last[key] ~= e.n - 7 then error("out of order") end
          last[key] = e.n
        end)
      ]],
        { "--state", "state", "--shards", shards }
      )
      assert.equal(0, r.code, r.err)
      assert.equal(0, #r.dead, r.dead[1] and r.dead[1].error)
      assert.equal(20000, select(2, r.text:gsub("\n", "")))
    end)
  end
end)

describe("a channel", function()
  after_each(s.clean)

  it("hands a changed event to its rules before the next event is seen", function()
    local r = run(
      { '{"n":1}', '{"n":2}' },
      [[
      local c, d = mw.channel("c"), mw.channel("d")
      mw.rule("r", { from = input }, function(e) out:send { at = "r", n = e.n } e.x = e.n * 10 c:send(e, { y = 1 }) end)
      mw.rule("s", { from = c }, function(e) out:send { at = "s", x = e.x, y = e.y } d:send { from = e.x } end)
      mw.rule("t", { from = d }, function(e) out:send(e) end)
    ]]
    )
    assert.equal(
      '{"at":"r","n":1}\n{"at":"s","x":10,"y":1}\n{"from":10}\n{"at":"r","n":2}\n{"at":"s","x":20,"y":1}\n{"from":20}\n',
      r.text,
      r.err
    )
  end)

  it("takes events to the shards of their new keys", function()
    local lines = {}
    for i = 1, 3000 do
      lines[i] = ('{"n":%d,"a":%d,"b":%d}'):format(i, i % 7, i % 5)
    end
    local r = run(
      lines,
      [[
      local c = mw.channel("c")
      mw.rule("r", { from = input, by = "a" }, function(e) c:send(e) end)
      local seen = {}
      mw.rule("s", { from = c, by = "b" }, function(e) seen[e.b] = (seen[e.b] or 0) + 1 out:send(e, { seen = seen[e.b] }) end)
    ]],
      { "--state", "state", "--shards", "3" }
    )
    assert.equal(0, r.code, r.err)
    local most = {}
    for line in r.text:gmatch "[^\n]+" do
      local e = s.json.decode(line)
      most[e.b] = math.max(most[e.b] or 0, e.seen)
    end
    for b = 0, 4 do
      assert.equal(600, most[b])
    end
  end)

  for _, shape in ipairs {
    { "a rule without a key", "", "" },
    { "a rule of another key", "by = 'a'", "" },
    {
      "rules of two keys",
      "by = 'a'",
      "mw.rule('q', { from = input, by = 'd' }, function(e) if e.n % 2 == 1 then c:send(e) end end)",
    },
    { "rules that wait", "by = 'a'", "", "if seen:increment(e.d, 'n') > 0 then end" },
  } do
    it("gets what " .. shape[1] .. " sends in the order of its source", function()
      local lines = {}
      for i = 1, 12000 do
        lines[i] = ('{"n":%d,"a":%d,"b":%d,"d":%d}'):format(
          i,
          math.random(7),
          math.random(50),
          math.random(9)
        )
      end
      local both = shape[3] ~= ""
      local r = run(
        lines,
        ([[
        local c = mw.channel("c")
        local seen = mw.state "seen"
        mw.rule("r", { from = input, %s }, function(e) %s if not %s or e.n %% 2 == 0 then c:send(e) end end)
        %s
        mw.rule("s", { from = c, by = "b" }, function(e)
          local last = seen:get(e.b, "last") or 0
          seen:put(e.b, "last", e.n)
          out:send { b = e.b, n = e.n, last = last }
        end)
      ]]):format(shape[2], shape[4] or "", tostring(both), shape[3]),
        { "--state", "state", "--shards", "4" }
      )
      assert.equal(0, r.code, r.err)
      local count, latest = 0, {}
      local all = {}
      for line in r.text:gmatch "[^\n]+" do
        local e = s.json.decode(line)
        assert(e.last < e.n, "event " .. e.n .. " came after " .. e.last)
        count = count + 1
        all[e.n] = true
        latest[e.b] = math.max(latest[e.b] or 0, e.n)
      end
      assert.equal(12000, count)
      for n = 1, 12000 do
        assert(all[n], "event " .. n)
      end
    end)
  end

  it("that feeds itself without end costs a dead letter, not the router", function()
    local r = run(
      { '{"n":1}', '{"n":2}' },
      [[
      local c = mw.channel("c")
      mw.rule("r", { from = input }, function(e) if e.n == 1 then c:send(e) end out:send(e) end)
      mw.rule("loop", { from = c }, function(e) c:send(e) end)
    ]]
    )
    assert.equal(0, r.code, r.err)
    assert.equal('{"n":1}\n{"n":2}\n', r.text)
    assert.equal(1, #r.dead)
    assert.matches("in a circle", r.dead[1].error)
  end)
end)

describe("the sandbox", function()
  after_each(s.clean)

  local function says(code, pattern)
    local r = run({ '{"a":{"b":1}}' }, rule(code .. " out:send { done = true }"))
    if pattern then
      assert.matches(pattern, r.dead[1] and r.dead[1].error or "no error: " .. r.text)
    else
      assert.equal('{"done":true}\n', r.text)
    end
  end

  it("has no way out", function()
    says "assert(os == nil and io == nil and debug == nil and jit == nil and ffi == nil and load == nil and loadstring == nil and dofile == nil and package == nil)"
    says "assert(string.dump == nil and math.random == nil and getfenv == nil and setfenv == nil and collectgarbage == nil)"
    says("require 'ffi'", "modules are required where the flow is loaded")
    says 'assert(getmetatable(e) == nil and getmetatable(e.a) == nil and getmetatable("") == nil)'
    says("setmetatable(e, {})", "cannot be set")
    says("rawset(e, true, 5)", "cannot be used on an event")
    says("e[true] = 7; out:send(e)", "")
    says("local x = e + 1", "arithmetic")
    says("mw.null.x = 1", "cannot be changed")
    says("out.x = 1", "no fields")
    says("mw.env.PATH_THAT_IS_NOT = 1", "cannot be changed")
  end)

  it("accepts no bytecode", function()
    local folder = s.folder()
    local code, _, err = s.moonweir("check", folder, string.dump(function() end))
    assert.equal(2, code)
    assert.matches("bytecode", err)
  end)
end)
