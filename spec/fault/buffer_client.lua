-- buffer_client.lua HOST PORT FIRST OUT STOP: posts numbered events one after the other until STOP is there; writes the number of
-- each that was answered 202 to OUT.
local socket = require "socket"
local host, port, n, out, stop = arg[1], tonumber(arg[2]), tonumber(arg[3]), assert(io.open(arg[4], "w")), arg[5]
local function stopped()
  local file = io.open(stop)
  if file then file:close() end
  return file ~= nil
end
while not stopped() do
  local s = assert(socket.tcp())
  s:settimeout(2)
  if not s:connect(host, port) then break end
  while true do
    n = n + 1
    local body = ('{"n":%d,"k":"k%d"}'):format(n, n % 7)
    if not s:send(("POST /in HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)) then break end
    local line = s:receive "*l"
    if not line then break end
    local length = 0
    for header in function() local l = s:receive "*l" return l ~= "" and l or nil end do
      length = tonumber(header:match "^[Cc]ontent%-[Ll]ength: (%d+)") or length
    end
    if length > 0 and not s:receive(length) then break end
    if line:find " 202 " then
      out:write(n, "\n")
      out:flush()
    end
  end
  s:close()
  socket.sleep(0.01)
end
out:close()
