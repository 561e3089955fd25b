-- file -> rule -> two files, against a C program that only splits lines and copies them to two files, and against a plain
-- luajit + cjson script with the same rule; the same with other shapes of events; and with two shards.
local m = require "measure"
local s = require "support"

local RULE = 'e.amount and e.amount > 900 and e.country == "FR" or e.device.os == "ios"'

local function flow(input)
  return ([[
    local mw = require "moonweir"
    local payments = mw.source.file("payments", { path = "%s" })
    local a = mw.sink.file("a", { path = "%s/a.ndjson" })
    local b = mw.sink.file("b", { path = "%s/b.ndjson" })
    mw.rule("route", { from = payments }, function(e)
      if %s then a:send(e) else b:send(e) end
    end)
  ]]):format(input, m.folder, m.folder, RULE)
end

s.write(m.folder .. "/cjson.lua", ([[
  local decode = require "cjson".decode
  local a, b = io.open(arg[2], "w"), io.open(arg[3], "w")
  for line in io.lines(arg[1]) do
    local e = decode(line)
    if %s then a:write(line, "\n") else b:write(line, "\n") end
  end
]]):format(RULE))

local function clear() os.execute("rm -f " .. m.folder .. "/*.ndjson.out " .. m.folder .. "/[ab].ndjson") end
local function limit(input)
  return function()
    clear()
    return m.run { m.folder .. "/limit", input, m.folder .. "/a.ndjson", m.folder .. "/b.ndjson" }
  end
end
local function router(input, shards)
  return function()
    clear()
    local r = m.moonweir(flow(input), shards)
    s.clean()
    return r
  end
end
local function lua(input)
  return function()
    clear()
    return m.run { "luajit", m.folder .. "/cjson.lua", input, m.folder .. "/a.ndjson", m.folder .. "/b.ndjson" }
  end
end

m.title(("file -> rule -> two files, %d events of about 290 bytes, median of %d rounds in turn"):format(m.events, m.rounds))
local input = m.payments "plain"
local r = m.in_turn { limit(input), router(input, 1), router(input, 2) }
local l, one, two = r[1], r[2], r[3]
local function ns(results) return m.figure(results, "wall") / m.events * 1e9 end
m.line("limit (C: split and copy)         %6.0f ns/event", ns(l))
m.line("moonweir, 1 shard                 %6.0f ns/event   %.2f x the limit   %d KiB", ns(one), m.ratio(one, l, "wall"), m.figure(one, "kib"))
m.line("moonweir, 2 shards                %6.0f ns/event   %.2f x as fast as one   %d KiB", ns(two), m.ratio(one, two, "wall"), m.figure(two, "kib"))
local slow = m.in_turn({ lua(input), router(input, 1) }, 1)
m.line("luajit + cjson                    %6.0f ns/event   moonweir is %.1f x as fast", ns(slow[1]), m.ratio(slow[1], slow[2], "wall"))
for _, shape in ipairs { "last", "absent", "nested", "escaped" } do
  os.remove(input)
  input = m.payments(shape)
  r = m.in_turn({ limit(input), router(input, 1) }, math.min(3, m.rounds))
  m.line("moonweir, 1 shard, fields %-8s%6.0f ns/event   %.2f x the limit", shape, ns(r[2]), m.ratio(r[2], r[1], "wall"))
end
os.remove(input)
clear()
