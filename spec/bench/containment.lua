-- The price of containment: the same runtime with the budget taken out of the rules' source and of the driver, in the same run.
local m = require "measure"
local s = require "support"

--- A copy of the runtime that adds no checks.
local function without_budget()
  local folder = m.folder .. "/scripts"
  os.execute(("mkdir -p %s && cp -r %s/scripts/moonweir %s"):format(folder, s.root, folder))
  local function change(file, from, to)
    local path = folder .. "/moonweir/" .. file
    local text, n = s.read(path):gsub(from, to)
    assert(n > 0, file .. " has changed")
    s.write(path, text)
  end
  change("runtime.lua", "add_budget%(text, path%)", '"return function() return function(...) " .. text .. "\\nend end"')
  change("driver.lua", "R.rule, R.overlaid, B%[1%], B%[2%], B%[3%] = %%d, 0, FIRST, FIRST, 0", "R.rule, R.overlaid = %%d, 0")
  return { env = { MOONWEIR_SCRIPTS = folder } }
end

local free = without_budget()

local function compare(title, flow, limit)
  local function run(options)
    return function()
      os.execute(("rm -f %s/[ab].ndjson"):format(m.folder))
      local r = m.moonweir(flow, 1, options, m.run_quietly)
      s.clean()
      return r
    end
  end
  local r = m.in_turn { run(free), run { env = { MOONWEIR_SCRIPTS = s.root .. "/scripts/nothing" } } }
  m.line("%-34s %6.3f s without   %6.3f s with   %+.1f %%   (at most %d %% is the aim)", title, m.figure(r[1], "wall"), m.figure(r[2], "wall"),
    (m.ratio(r[2], r[1], "wall") - 1) * 100, limit)
end

m.title(("price of containment, one shard, median of %d rounds in turn"):format(m.rounds))
local input = m.payments "plain"
compare("file -> rule -> two files", ([[
  local mw = require "moonweir"
  local payments = mw.source.file("payments", { path = "%s" })
  local a = mw.sink.file("a", { path = "%s/a.ndjson" })
  local b = mw.sink.file("b", { path = "%s/b.ndjson" })
  mw.rule("route", { from = payments }, function(e)
    if e.amount and e.amount > 900 and e.country == "FR" or e.device.os == "ios" then a:send(e) else b:send(e) end
  end)
]]):format(input, m.folder, m.folder), 5)
os.execute("rm -f " .. m.folder .. "/*.ndjson")
s.write(m.folder .. "/loops", ('{"n":1}\n'):rep(200))
local LOOP = [[
  local mw = require "moonweir"
  local input = mw.source.file("input", { path = "%s/loops" })
  local out = mw.sink.discard("out", {})
  mw.rule("loop", { from = input, timeout = "10s" }, function(e)
    %s
    out:send { n = n }
  end)
]]
compare("for i = 1, 1e7 do n = n + i end", LOOP:format(m.folder, "local n = 0 for i = 1, 1e7 do n = n + i end"), 40)
compare("while i < 1e7 do i = i + 1 end", LOOP:format(m.folder, "local n, i = 0, 0 while i < 1e7 do i = i + 1 end"), 40)
compare("a small function called 1e7 times",
  LOOP:gsub("mw.rule", "local function f(i) return i + 1 end mw.rule"):format(m.folder, "local n = 0 for i = 1, 1e7 do n = f(n) end"), 40)
compare("one that calls another", LOOP:gsub("mw.rule", "local function g(i) return i + 1 end local function f(i) return (g(i)) end mw.rule")
  :format(m.folder, "local n = 0 for i = 1, 1e7 do n = f(n) end"), 40)
