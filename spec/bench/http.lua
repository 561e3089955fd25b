-- HTTP with 64 keep-alive connections: CPU a request and p99, with the decision made by a rule and returned, beside a bare
-- libuv + http-parser server with a fixed answer; 100 events a POST beside the same decision with cjson; Node.js if it is here.
local m = require "measure"
local s = require "support"
local socket = require "socket"

local SECONDS = tonumber(os.getenv "SECONDS_EACH") or 3

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
    local port = s.free_port()
    return load_server({ m.folder .. "/http_limit", tostring(port) }, port, body)
  end
end
local function router(body)
  return function()
    local port, folder = s.free_port(), s.folder()
    s.write(folder .. "/flow.lua", FLOW:format(port))
    return load_server({ s.program, "run", "flow.lua", "--quiet", "--shards", "1", "--state", "state" }, port, body, folder)
  end
end

--- nginx with its Lua module and cjson, in its chroot: the same decision for one event or a list of them.
local NGINX = [[
  daemon off; worker_processes 1; error_log /dev/null; pid /run/bench.pid; user root;
  load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;
  events { worker_connections 1024; }
  http {
    access_log off; client_body_buffer_size 1m; client_max_body_size 8m; keepalive_requests 1000000000;
    lua_package_cpath "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;;";
    init_by_lua_block { cjson = require "cjson" }
    server { listen 127.0.0.1:%d; location /payments { content_by_lua_block {
      local function decide(e)
        return { decision = e.amount > 900 and e.device.os == "unknown" and "review" or "accept" }
      end
      ngx.req.read_body()
      local e = cjson.decode(ngx.req.get_body_data())
      ngx.header.content_type = "application/json"
      if not e[1] then return ngx.print(cjson.encode(decide(e))) end
      local list = {}
      for i = 1, #e do list[i] = decide(e[i]) end
      ngx.print(cjson.encode(list))
    } } }
  }
]]
local peers = s.root .. "/build/peers"
local nginx_root = os.execute(("mkdir -p %s && sh %s/spec/bench/peers/nginx.sh %s"):format(peers, s.root, peers)) == 0
  and peers .. "/nginx-root"
if not nginx_root then print "nginx could not be set up here: left out" end
local function nginx(body)
  return function()
    local port = s.free_port()
    s.write(nginx_root .. "/bench.conf", NGINX:format(port))
    return load_server({ "chroot", nginx_root, "/usr/sbin/nginx", "-c", "/bench.conf" }, port, body)
  end
end

local function show(name, r, limit)
  m.line("%-34s %6.2f us CPU a request   p99 %7.3f ms   %7.0f requests/s   %s", name, m.figure(r, "cpu"), m.figure(r, "p99") * 1000, m.figure(r, "rate"),
    limit and ("%.2f x the CPU, %.2f x the p99"):format(m.ratio(r, limit, "cpu"), m.ratio(r, limit, "p99")) or "")
end

m.title(("HTTP, 64 keep-alive connections, one event a request, %d rounds of %d s in turn"):format(math.min(3, m.rounds), SECONDS))
local candidates = { bare(EVENT), router(EVENT) }
local node, at_node, at_nginx = os.execute "command -v node > /dev/null" == 0, nil, nil
if node then
  at_node = #candidates + 1
  candidates[at_node] = function()
    local port = s.free_port()
    return load_server({ "node", s.root .. "/spec/bench/peers/node_server.js", tostring(port) }, port, EVENT)
  end
end
if nginx_root then
  at_nginx = #candidates + 1
  candidates[at_nginx] = nginx(EVENT)
end
local r = m.in_turn(candidates, math.min(3, m.rounds))
show("bare libuv + http-parser, no rule", r[1])
show("moonweir, 1 shard, rule and reply", r[2], r[1])
for name, at in pairs { ["node, the same decision"] = at_node, ["nginx + Lua + cjson, the same"] = at_nginx } do
  show(name, r[at])
  m.line("  moonweir uses %.1f x less CPU a request", m.ratio(r[at], r[2], "cpu"))
end

m.title "HTTP, 100 events a POST"
local hundred = {}
for i = 1, 100 do hundred[i] = EVENT end
local body = "[" .. table.concat(hundred, ",") .. "]"
r = m.in_turn({ router(body), nginx_root and nginx(body) or nil }, math.min(3, m.rounds))
m.line("moonweir                           %6.3f us CPU an event", m.figure(r[1], "cpu") / 100)
if r[2] then
  m.line("nginx + Lua + cjson                %6.3f us CPU an event   moonweir takes %.1f x less", m.figure(r[2], "cpu") / 100,
    m.ratio(r[2], r[1], "cpu"))
end
s.clean()
