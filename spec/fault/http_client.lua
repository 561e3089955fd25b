-- http_client.lua HOST PORT NAME: posts numbered events on one connection until it is refused;
-- prints those answered 200.
local socket = require "socket"
local host, port, name = arg[1], tonumber(arg[2]), arg[3]
local c = assert(socket.tcp())
c:settimeout(10)
assert(c:connect(host, port))
for n = 1, 1000000 do
  local body = ('{"c":"%s","n":%d}'):format(name, n)
  if
    not c:send(("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  then
    break
  end
  local status = c:receive "*l"
  if not status then break end
  local length = 0
  for header in
    function()
      local l = c:receive "*l"
      return l ~= "" and l or nil
    end
  do
    length = tonumber(header:match "^Content%-Length: (%d+)") or length
  end
  local answer = c:receive(length)
  if not answer then break end
  if status:find " 200 " then io.write(body, "\n") end
  if not status:find " 200 " then break end
end
