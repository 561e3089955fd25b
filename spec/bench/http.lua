-- HTTP with 64 keep-alive connections: CPU a request and p99, with the decision made by a rule and returned, beside a bare
-- libuv + http-parser server with a fixed answer; 100 events a POST beside the same decision with cjson; Node.js if it is here.
local m = require "measure"
local s = require "support"
local socket = require "socket"

local SECONDS = tonumber(os.getenv "SECONDS_EACH") or 3

local function free_port()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  server:close()
  return port
end

local FLOW = [[
  local mw = require "moonweir"
  local payments = mw.source.http("payments", { listen = "127.0.0.1:%d", path = "/payments" })
  local review = mw.sink.discard("review", {})
  mw.rule("decide", { from = payments }, function(e)
    if e.amount > 900 and e.device.os == "unknown" then
      review:send(e)
      return mw.reply(e, { decision = "review" })
    end
    return mw.reply(e, { decision = "accept" })
  end)
]]

local EVENT = '{"id":"p000000001","amount":95.08,"country":"FR","ts":1700000000007,"card":"c0162890","merchant":"m01334",'
  .. '"currency":"EUR","channel":"pos","ip":"10.50.135.175","attempt":2,"device":{"os":"windows","model":"m218","app":"4.22.1"}}'

local function wait_for(port)
  s.eventually(function()
    local c = socket.tcp()
    local ok = c:connect("127.0.0.1", port)
    c:close()
    return ok
  end, 20)
end

local function seconds(text)
  local n, unit = text:match "([%d%.]+)(%a+)"
  return tonumber(n) * ({ us = 1e-6, ms = 1e-3, s = 1 })[unit]
end

--- Loads a server by wrk for some seconds: { cpu (us a request), p99 (s), rate }.
local function load_server(argv, port, body, cwd)
  local p = s.start(argv, { cwd = cwd })
  wait_for(port)
  local script = s.folder() .. "/post.lua"
  s.write(script, ("wrk.method = 'POST' wrk.body = %q wrk.headers['Content-Type'] = 'application/json'"):format(body))
  local function wrk(duration)
    local pipe = io.popen(("wrk -t1 -c64 -d%ds --latency -s %s http://127.0.0.1:%d/payments"):format(duration, script, port))
    local text = pipe:read "*a"
    pipe:close()
    return text
  end
  wrk(1)
  local before = m.cpu_of(p.pid)
  local text = wrk(SECONDS)
  local cpu = m.cpu_of(p.pid) - before
  p:kill()
  p:wait(10)
  local requests = tonumber(text:match "(%d+) requests in")
  assert(not text:find "Non%-2xx", text)
  return { cpu = cpu / requests * 1e6, p99 = seconds(text:match "\n%s+99%%%s+(%S+)"), rate = tonumber(text:match "Requests/sec:%s+([%d%.]+)"), requests = requests }
end

local function bare(body)
  return function()
    local port = free_port()
    return load_server({ m.folder .. "/http_limit", tostring(port) }, port, body)
  end
end
local function router(body)
  return function()
    local port, folder = free_port(), s.folder()
    s.write(folder .. "/flow.lua", FLOW:format(port))
    return load_server({ s.program, "run", "flow.lua", "--quiet", "--shards", "1", "--state", "state" }, port, body, folder)
  end
end

local function show(name, r, limit)
  m.line("%-34s %6.2f us CPU a request   p99 %7.3f ms   %7.0f requests/s   %s", name, m.figure(r, "cpu"), m.figure(r, "p99") * 1000, m.figure(r, "rate"),
    limit and ("%.2f x the CPU, %.2f x the p99"):format(m.ratio(r, limit, "cpu"), m.ratio(r, limit, "p99")) or "")
end

m.title(("HTTP, 64 keep-alive connections, one event a request, %d rounds of %d s in turn"):format(math.min(3, m.rounds), SECONDS))
local candidates = { bare(EVENT), router(EVENT) }
local node = os.execute "command -v node > /dev/null" == 0
if node then
  candidates[3] = function()
    local port = free_port()
    return load_server({ "node", s.root .. "/spec/bench/peers/node_server.js", tostring(port) }, port, EVENT)
  end
end
local r = m.in_turn(candidates, math.min(3, m.rounds))
show("bare libuv + http-parser, no rule", r[1])
show("moonweir, 1 shard, rule and reply", r[2], r[1])
if node then
  show("node, the same decision", r[3])
  m.line("moonweir uses %.1f x less CPU a request than node", m.ratio(r[3], r[2], "cpu"))
end

m.title "HTTP, 100 events a POST"
local hundred = {}
for i = 1, 100 do hundred[i] = EVENT end
r = m.in_turn({ router("[" .. table.concat(hundred, ",") .. "]") }, 1)
local us = m.figure(r[1], "cpu") / 100
m.line("moonweir                           %6.3f us CPU an event", us)
s.write(m.folder .. "/cjson_http.lua", ([[
  local cjson = require "cjson"
  local body = %q
  local n = 0
  local start = os.clock()
  while os.clock() - start < 2 do
    local out = {}
    for i, e in ipairs(cjson.decode(body)) do
      out[i] = e.amount > 900 and e.device.os == "unknown" and { decision = "review" } or { decision = "accept" }
    end
    cjson.encode(out)
    n = n + 100
  end
  print((os.clock() - start) / n * 1e6)
]]):format("[" .. table.concat(hundred, ",") .. "]"))
local pipe = io.popen("luajit " .. m.folder .. "/cjson_http.lua")
local cjson_us = pipe:read "*n"
pipe:close()
m.line("cjson, decode and encode only      %6.3f us CPU an event   moonweir is %.1f x as fast, sockets included", cjson_us, cjson_us / us)
s.clean()
