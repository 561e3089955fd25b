--- A Redis of a test's own, on a unix socket.
local s = require "support"
local unix = require "socket.unix"

local M = {}
local Server = {}
Server.__index = Server

local function connect(path)
  local c = assert(unix())
  if not c:connect(path) then return nil end
  c:settimeout(10)
  return c
end

function Server:restart()
  self.process = s.start {
    "redis-server",
    "--port",
    "0",
    "--unixsocket",
    self.path,
    "--save",
    "",
    "--dir",
    self.folder,
  }
  s.eventually(function()
    local c = connect(self.path)
    if c then
      c:send "PING\r\n"
      local answer = c:receive "*l"
      c:close()
      return answer == "+PONG"
    end
  end, 10, "Redis starts")
end

--- One command; its reply's first line without the sign, or the text of a bulk reply.
function Server:command(...)
  local c = assert(connect(self.path))
  local parts = { ("*%d\r\n"):format(select("#", ...)) }
  for _, argument in ipairs { ... } do
    parts[#parts + 1] = ("$%d\r\n%s\r\n"):format(#argument, argument)
  end
  c:send(table.concat(parts))
  local line = c:receive "*l" or ""
  local text = line:sub(2)
  if line:sub(1, 1) == "$" then text = c:receive(tonumber(text)) end
  c:close()
  return text
end

function Server:kill()
  self.process:kill(s.SIGKILL)
  self.process:wait()
end

function Server:pause() self.process:kill(s.SIGSTOP) end
function Server:resume() self.process:kill(s.SIGCONT) end

function M.start()
  local folder = s.folder()
  local server = setmetatable({ folder = folder, path = folder .. "/redis.sock" }, Server)
  server.url = "unix://" .. server.path
  server:restart()
  return server
end

return M
