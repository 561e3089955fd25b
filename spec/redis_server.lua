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

local function send(c, ...)
  local parts = { ("*%d\r\n"):format(select("#", ...)) }
  for _, argument in ipairs { ... } do
    parts[#parts + 1] = ("$%d\r\n%s\r\n"):format(#argument, argument)
  end
  c:send(table.concat(parts))
end

--- One command; its reply's first line without the sign, or the text of a bulk reply.
function Server:command(...)
  local c = assert(connect(self.path))
  send(c, ...)
  local line = c:receive "*l" or ""
  local text = line:sub(2)
  if line:sub(1, 1) == "$" then text = c:receive(tonumber(text)) end
  c:close()
  return text
end

local function receive(c)
  local line = assert(c:receive "*l")
  local kind, text = line:sub(1, 1), line:sub(2)
  if kind == ":" then return tonumber(text) end
  if kind == "$" then
    local bytes = tonumber(text) >= 0 and c:receive(tonumber(text) + 2)
    return bytes and bytes:sub(1, -3)
  end
  if kind ~= "*" then return text end
  local list = {}
  for i = 1, tonumber(text) do
    list[i] = receive(c)
  end
  return list
end

--- One command's whole reply.
function Server:list(...)
  local c = assert(connect(self.path))
  send(c, ...)
  local reply = receive(c)
  c:close()
  return reply
end

function Server:kill()
  self.process:kill(s.SIGKILL)
  self.process:wait()
end

function Server:pause() self.process:kill(s.SIGSTOP) end
function Server:resume() self.process:kill(s.SIGCONT) end

--- A master with a replica, and a Sentinel that watches them: { url, ports, processes, master }.
function M.sentinel()
  local folder = s.folder()
  local ports = { s.free_port(), s.free_port(), s.free_port() }
  local processes = {}
  for i = 1, 2 do
    local home = s.folder()
    local argv = {
      "redis-server",
      "--port",
      tostring(ports[i]),
      "--save",
      "",
      "--dir",
      home,
      "--repl-diskless-sync-delay",
      "0",
    }
    if i == 2 then
      argv[#argv + 1] = "--replicaof"
      argv[#argv + 1] = "127.0.0.1"
      argv[#argv + 1] = tostring(ports[1])
    end
    processes[i] = s.start(argv)
  end
  local config = folder .. "/sentinel.conf"
  s.write(
    config,
    ("port %d\nsentinel monitor mine 127.0.0.1 %d 1\nsentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 2000\n"):format(
      ports[3],
      ports[1]
    )
  )
  processes[3] = s.start { "redis-server", config, "--sentinel" }
  --- A command's reply, as it comes within a moment.
  local function ask(port, line)
    local c = require("socket").tcp()
    c:settimeout(0.2)
    if not c:connect("127.0.0.1", port) then return "" end
    c:send(line .. "\r\n")
    local whole, _, part = c:receive(100000)
    c:close()
    return whole or part or ""
  end
  s.eventually(
    function() return ask(ports[2], "INFO replication"):find "master_link_status:up" end,
    15,
    "the replica follows"
  )
  s.eventually(
    function() return ask(ports[3], "SENTINEL master mine"):find "num%-slaves\r\n%$1\r\n1" end,
    20,
    "the Sentinel knows the replica"
  )
  return {
    url = ("redis-sentinel://127.0.0.1:%d/mine"):format(ports[3]),
    ports = ports,
    processes = processes,
    ask = ask,
  }
end

--- Three masters that share the slots: { url, ports, processes, ask }.
function M.cluster()
  local ports, processes, argv = {}, {}, { "redis-cli", "--cluster", "create" }
  for i = 1, 3 do
    ports[i] = s.free_port()
    processes[i] = s.start {
      "redis-server",
      "--port",
      tostring(ports[i]),
      "--cluster-port",
      tostring(s.free_port()),
      "--cluster-enabled",
      "yes",
      "--cluster-node-timeout",
      "2000",
      "--save",
      "",
      "--dir",
      s.folder(),
    }
    argv[#argv + 1] = "127.0.0.1:" .. ports[i]
  end
  local function ask(i, ...)
    local list = { "redis-cli", "-p", tostring(ports[i]) }
    for _, argument in ipairs { ... } do
      list[#list + 1] = "'" .. argument .. "'"
    end
    local pipe = io.popen(table.concat(list, " ") .. " 2>/dev/null")
    local text = pipe:read "*a"
    pipe:close()
    return (text:gsub("%s+$", ""))
  end
  for i = 1, 3 do
    s.eventually(function() return ask(i, "PING") == "PONG" end, 10, "a node starts")
  end
  os.execute(table.concat(argv, " ") .. " --cluster-yes >/dev/null")
  for i = 1, 3 do
    s.eventually(
      function() return ask(i, "CLUSTER", "INFO"):find "cluster_state:ok" end,
      20,
      "the cluster is whole"
    )
  end
  return {
    url = ("redis-cluster://127.0.0.1:%d,127.0.0.1:%d"):format(ports[1], ports[2]),
    ports = ports,
    processes = processes,
    ask = ask,
  }
end

function M.start()
  local folder = s.folder()
  local server = setmetatable({ folder = folder, path = folder .. "/redis.sock" }, Server)
  server.url = "unix://" .. server.path
  server:restart()
  return server
end

return M
