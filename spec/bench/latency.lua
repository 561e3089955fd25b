-- An event alone is not held for a batch: stdin -> rule -> stdout at 1,000 events a second, beside `cat`, in the same run.
local m = require "measure"
local s = require "support"
local posix = s.posix
local unistd = require "posix.unistd"
local poll = require "posix.poll"

local COUNT = 3000

local function latencies(argv, cwd)
  local in_read, in_write = unistd.pipe()
  local out_read, out_write = unistd.pipe()
  local p = s.start(argv, { stdin = in_read, stdout = out_write, cwd = cwd })
  unistd.close(in_read)
  unistd.close(out_write)
  local list = {}
  local next_at = m.now() + 0.3
  for n = 1, COUNT do
    while m.now() < next_at do end
    next_at = next_at + 0.001
    local start = m.now()
    unistd.write(in_write, ('{"n":%d,"amount":%d,"country":"FR"}\n'):format(n, n))
    poll.rpoll(out_read, 1000)
    assert(unistd.read(out_read, 4096))
    list[n] = (m.now() - start) * 1e6
  end
  unistd.close(in_write)
  p:wait(10)
  unistd.close(out_read)
  table.sort(list)
  return { p50 = list[math.floor(COUNT * 0.5)], p99 = list[math.floor(COUNT * 0.99)] }
end

m.title "latency: stdin -> rule -> stdout, 1,000 events a second, each awaited"
assert(posix)
local folder = s.folder()
s.write(folder .. "/flow.lua", [[
  local mw = require "moonweir"
  local input = mw.source.stdin("input", {})
  local out = mw.sink.stdout("out", {})
  mw.rule("r", { from = input }, function(e) if e.amount > 0 then out:send(e) end end)
]])
local r = m.in_turn {
  function() return latencies { "cat" } end,
  function() return latencies({ s.program, "run", "flow.lua", "--quiet", "--shards", "1" }, folder) end,
}
m.line("cat        p50 %6.1f us   p99 %6.1f us", m.figure(r[1], "p50"), m.figure(r[1], "p99"))
m.line("moonweir   p50 %6.1f us   p99 %6.1f us   %.2f x and %.2f x", m.figure(r[2], "p50"), m.figure(r[2], "p99"), m.ratio(r[2], r[1], "p50"),
  m.ratio(r[2], r[1], "p99"))
s.clean()
