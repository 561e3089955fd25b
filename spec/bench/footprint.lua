-- What it takes to be there: the program's size, the time to be ready, the memory when idle.
local m = require "measure"
local s = require "support"

m.title "footprint"
os.execute(("strip -o %s/stripped %s"):format(m.folder, s.program))
local size = #s.read(m.folder .. "/stripped")
local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.http("input", { listen = "127.0.0.1:0" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  mw.rule("r", { from = input }, function(e) out:send(e) mw.reply(e, { ok = true }) end)
]]
local ready, idle = {}, {}
for i = 1, 11 do
  local folder = s.folder()
  local start = m.now()
  local p = s.start(s.command("run", folder, FLOW, { "--shards", "2", "--state", "state" }), { cwd = folder })
  repeat until p:stderr():find "is ready"
  ready[i] = (m.now() - start) * 1000
  s.sleep(0.2)
  local child = io.popen("pgrep -P " .. p.pid):read "*n"
  local function kib(pid, what) return tonumber(s.read("/proc/" .. pid .. "/smaps_rollup"):match(what .. ":%s*(%d+)")) end
  idle[i] = { kib(child, "Rss"), kib(child, "Pss") + kib(p.pid, "Pss") }
  p:kill()
  p:wait(10)
  s.clean()
end
table.sort(idle, function(a, b) return a[1] < b[1] end)
m.line("program, stripped                 %6d KiB", size / 1024)
m.line("start to ready, 2 shards          %6.1f ms", m.median(ready))
m.line("resident when idle, 2 shards      %6d KiB (with its supervisor, shared pages counted once: %d KiB)", idle[6][1], idle[6][2])
