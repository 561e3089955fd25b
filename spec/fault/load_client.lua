-- load_client.lua HOST PORT CONNECTIONS OUT STOP: posts numbered events over so many connections, one request at a time on
-- each, until the file STOP is there. Writes a line to OUT for each answer that is 200 ("n version"), and at its end one line
-- "done requests=N bad=N refused=N longest=SECONDS", with what was bad before it.
local socket = require "socket"
local host, port, count, out_path, stop_path = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4], arg[5]
local out = assert(io.open(out_path, "w"))
local n, bad, refused, longest, requests = 0, 0, 0, 0, 0
local list, by_socket, stopping = {}, {}, false

local function complain(why)
  bad = bad + 1
  if bad <= 5 then out:write("bad ", why, "\n") end
end

local function connect()
  local s = assert(socket.tcp())
  s:settimeout(5)
  if not s:connect(host, port) then
    refused = refused + 1
    return nil
  end
  s:setoption("tcp-nodelay", true)
  s:settimeout(0)
  return s
end

local function send(c)
  n = n + 1
  requests = requests + 1
  c.n, c.buffer, c.sent = n, "", socket.gettime()
  local body = ('{"n":%d,"c":"k%d"}'):format(n, n % 97)
  local _, why = c.socket:send(("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  if why then complain("send: " .. why) end
end

local function reconnect(c)
  by_socket[c.socket] = nil
  for i, s in ipairs(list) do
    if s == c.socket then table.remove(list, i) break end
  end
  c.socket:close()
  c.socket = connect()
  if not c.socket then return end
  list[#list + 1], by_socket[c.socket] = c.socket, c
  send(c)
end

local function finish(c)
  longest = math.max(longest, socket.gettime() - c.sent)
  local status = tonumber(c.buffer:match "^HTTP/1%.1 (%d+)")
  if status == 200 then
    out:write(c.n, " ", c.buffer:match '"v":(%d+)' or "?", "\n")
  else
    complain("status " .. tostring(status) .. ": " .. c.buffer:sub(-200))
  end
  local close = c.buffer:lower():find "connection: close"
  c.n = nil
  if stopping then return end
  if close then reconnect(c) else send(c) end
end

local function read(c)
  local data, why, part = c.socket:receive(65536)
  c.buffer = c.buffer .. (data or part or "")
  local _, head_end = c.buffer:find("\r\n\r\n", 1, true)
  if head_end then
    local length = tonumber(c.buffer:lower():match "content%-length: (%d+)") or 0
    if #c.buffer >= head_end + length then return finish(c) end
  end
  if why == "closed" then
    complain("closed with " .. #c.buffer .. " bytes of the answer")
    c.n = nil
    if not stopping then reconnect(c) end
  end
end

for _ = 1, count do
  local s = connect()
  if s then
    local c = { socket = s }
    list[#list + 1], by_socket[s] = s, c
    send(c)
  end
end
local function waiting()
  for _, c in pairs(by_socket) do
    if c.n then return true end
  end
end
local look, deadline = 0, math.huge
while waiting() and socket.gettime() < deadline do
  local ready = socket.select(list, nil, 0.1)
  for _, s in ipairs(ready) do
    if by_socket[s] and by_socket[s].n then read(by_socket[s]) end
  end
  look = look + 1
  socket.sleep(0.002) -- the machine is the router's, too
  if not stopping and (look % 50 == 0 or #ready == 0) then
    local f = io.open(stop_path)
    if f then
      f:close()
      stopping, deadline = true, socket.gettime() + 10
    end
  end
end
if waiting() then complain "requests were never answered" end
out:write(("done requests=%d bad=%d refused=%d longest=%.4f\n"):format(requests, bad, refused, longest))
out:close()
