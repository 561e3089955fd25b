-- Rules that ask Redis: against what redis-benchmark gets for the same command on the same socket.
local m = require "measure"
local s = require "support"
local redis = require "redis_server"

local N = 300000

local function benchmark(server, pipeline, n)
  local code, out = s.run(
    {
      "redis-benchmark",
      "-s",
      server.path,
      "-c",
      "1",
      "-P",
      tostring(pipeline),
      "-n",
      tostring(n),
      "-q",
      "HGET",
      "p:k",
      "f",
    },
    nil,
    120
  )
  assert(code == 0)
  return tonumber(out:match "([%d%.]+) requests per second[^\n]*\n?%s*$")
    or tonumber(out:match "([%d%.]+) requests per second")
end

local function ours(server, folder, key, n)
  local lines = {}
  for i = 1, n do
    lines[i] = ('{"id":%d,"k":"%s"}'):format(i, key(i))
  end
  s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
  os.execute("rm -rf " .. folder .. "/state")
  local flow = [[
    local mw = require "moonweir"
    local src = mw.source.file("in", { path = "in.ndjson" })
    local out = mw.sink.discard "out"
    local p = mw.shared("p", { url = mw.env.REDIS, timeout = "10s" })
    mw.rule("r", { from = src, by = "k" }, function(e) if p:get("k", "f") == 7 then out:send(e) end end)
  ]]
  local start = m.now()
  local code, _, err = s.moonweir(
    "run",
    folder,
    flow,
    { "--state", "state", "--shards", "1", "--no-supervisor", "--quiet" },
    { env = { REDIS = server.url } },
    120
  )
  assert(code == 0, err)
  return n / (m.now() - start - 0.03)
end

m.title "rules that wait for Redis (HGET, unix socket), against redis-benchmark with one connection"
local server = redis.start()
server:command("HSET", "p:k", "f", "7")
local folder = s.folder()
local many, one, theirs_many, theirs_one = {}, {}, {}, {}
for i = 1, m.rounds do
  theirs_many[i] = benchmark(server, 64, 1000000)
  many[i] = ours(server, folder, function(n) return "k" .. n end, N)
  theirs_one[i] = benchmark(server, 1, 30000)
  one[i] = ours(server, folder, function() return "same" end, 30000)
end
local function median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end
m.line(
  "many in flight      %8.0f answers/s   redis-benchmark -P 64 %8.0f: %.2f x",
  median(many),
  median(theirs_many),
  median(many) / median(theirs_many)
)
m.line(
  "one in flight       %8.0f answers/s   redis-benchmark -P 1  %8.0f: %.2f x its time",
  median(one),
  median(theirs_one),
  median(theirs_one) / median(one)
)
s.clean()
