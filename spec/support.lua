--- What the specs share: folders of their own, running the program, HTTP, waiting.
local posix = require "posix"
local unistd, wait, signal, stdlib =
  require "posix.unistd", require "posix.sys.wait", require "posix.signal", require "posix.stdlib"
local fcntl = require "posix.fcntl"
local socket = require "socket"
local cjson = require "cjson"

local M = { json = cjson }

M.root = assert(os.getenv "MOONWEIR_ROOT", "run the specs by sh spec/run.sh")
M.build = os.getenv "MOONWEIR_BUILD" or (M.root .. "/build/release")
M.program = M.build .. "/moonweir"

local folders = {}

--- A fresh folder, removed by `clean`.
function M.folder()
  local path = stdlib.mkdtemp((os.getenv "BENCH_DIR" or os.getenv "TMPDIR" or "/tmp") .. "/moonweir-spec.XXXXXX")
  folders[#folders + 1] = path
  return path
end

function M.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

function M.append(path, text)
  local file = assert(io.open(path, "ab"))
  file:write(text)
  file:close()
end

--- The file's bytes; "" when it is not there.
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "*a"
  file:close()
  return text
end

function M.lines(path)
  local list = {}
  for line in M.read(path):gmatch "[^\n]+" do
    list[#list + 1] = line
  end
  return list
end

--- The events of a file that has one a line. One that is not ended yet is being written, and is none.
function M.events(path)
  local list = {}
  for line in M.read(path):gmatch "([^\n]+)\n" do
    list[#list + 1] = cjson.decode(line)
  end
  return list
end

local running = {}

---@class Process
local Process = {}
Process.__index = Process

--- Starts a program: argv, and { stdin = path, stdout = path, stderr = path, cwd =, env = {} }.
function M.start(argv, options)
  options = options or {}
  local folder = M.folder()
  local out, err = options.stdout or folder .. "/stdout", options.stderr or folder .. "/stderr"
  local pid = assert(unistd.fork())
  if pid == 0 then
    local function to(path, flags, fd)
      local opened = fcntl.open(path, flags, 420)
      if opened and opened ~= fd then
        unistd.dup2(opened, fd)
        unistd.close(opened)
      end
    end
    if type(options.stdin) == "number" then
      unistd.dup2(options.stdin, 0)
    else
      to(options.stdin or "/dev/null", fcntl.O_RDONLY, 0)
    end
    if type(out) == "number" then
      unistd.dup2(out, 1)
    else
      to(out, fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_APPEND, 1)
    end
    to(err, fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_APPEND, 2)
    for fd = 3, 64 do
      unistd.close(fd)
    end
    if options.cwd then unistd.chdir(options.cwd) end
    for k, v in pairs(options.env or {}) do
      stdlib.setenv(k, v)
    end
    local args = {}
    for i = 2, #argv do
      args[i - 1] = argv[i]
    end
    unistd.execp(argv[1], args)
    unistd._exit(127)
  end
  local p = setmetatable({ pid = pid, out = out, err = err }, Process)
  running[pid] = p
  return p
end

function Process:stdout() return M.read(self.out) end
function Process:stderr() return M.read(self.err) end

--- Its exit code (negative: the signal it died of), or nil while it runs.
function Process:poll()
  if self.code then return self.code end
  local pid, why, code = wait.wait(self.pid, wait.WNOHANG)
  if pid == self.pid and why ~= "running" then
    self.code = why == "exited" and code or -code
    running[self.pid] = nil
  end
  return self.code
end

--- Waits for its end without looking now and then; the exit code.
function Process:join()
  local _, why, code = wait.wait(self.pid)
  self.code = why == "exited" and code or -code
  running[self.pid] = nil
  return self.code
end

function Process:kill(number) signal.kill(self.pid, number or signal.SIGTERM) end

--- Waits for its end and returns the exit code; an error after `seconds` (60).
function Process:wait(seconds)
  M.eventually(
    function() return self:poll() ~= nil end,
    seconds or 60,
    function() return "process did not end; stderr: " .. self:stderr() end
  )
  return self.code
end

M.SIGKILL, M.SIGTERM, M.SIGINT, M.SIGSTOP, M.SIGCONT =
  signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGCONT

function M.sleep(seconds) socket.sleep(seconds) end

--- Waits until `condition` is true and returns its value.
function M.eventually(condition, seconds, message)
  local deadline = socket.gettime() + (seconds or 10)
  local pause = 0.005
  while true do
    local value = condition()
    if value then return value end
    if socket.gettime() > deadline then
      error(
        "it did not happen in time: "
          .. (type(message) == "function" and message() or message or "?"),
        2
      )
    end
    socket.sleep(pause)
    pause = math.min(pause * 1.5, 0.1)
  end
end

--- Runs a program to its end: code, stdout, stderr.
function M.run(argv, options, seconds)
  local p = M.start(argv, options)
  local code = p:wait(seconds)
  return code, p:stdout(), p:stderr()
end

--- Writes a flow into a folder and runs `moonweir COMMAND` on it to the end, with the folder as its
--- working directory.
function M.moonweir(command, folder, flow, arguments, options, seconds)
  return M.run(M.command(command, folder, flow, arguments), M.options(folder, options), seconds)
end

function M.options(folder, options)
  local o = { cwd = folder }
  for k, v in pairs(options or {}) do
    o[k] = v
  end
  return o
end

function M.command(command, folder, flow, arguments)
  M.write(folder .. "/flow.lua", flow)
  local argv = { M.program, command, "flow.lua" }
  for _, a in ipairs(arguments or {}) do
    argv[#argv + 1] = a
  end
  return argv
end

--- Starts `moonweir run` and waits until it is ready.
function M.router(folder, flow, arguments, options)
  local argv = M.command("run", folder, flow, arguments or { "--shards", "2", "--state", "state" })
  local p = M.start(argv, M.options(folder, options))
  M.eventually(function()
    local ended = p:poll()
    if p:stderr():find "is ready" then return true end
    if ended then error("the router ended with " .. ended .. ": " .. p:stderr(), 0) end
  end, 20)
  return p
end

--- The address that a source (or "admin") of a router logged.
function Process:address(name)
  for line in self:stderr():gmatch "[^\n]+" do
    local ok, entry = pcall(cjson.decode, line)
    if ok and entry.where == name then
      local host, port = entry.message:match "listening on %a*[:/ ]*([%d%.]+):(%d+)"
      if host then return host, tonumber(port) end
    end
  end
  error("no address of " .. name .. " in " .. self:stderr(), 2)
end

--- A port of this machine that a server of a test's own may listen at, for whoever cannot listen at port 0. A connection
--- that this side ended first keeps it for a minute from everyone who asks the kernel for any port, tests beside this
--- one too, and not from who names it.
function M.free_port()
  local listening = assert(socket.bind("127.0.0.1", 0))
  local _, port = listening:getsockname()
  local there = assert(socket.connect("127.0.0.1", port))
  local here = assert(listening:accept())
  here:close()
  there:settimeout(10)
  there:receive(1)
  there:close()
  listening:close()
  return tonumber(port)
end

--- A raw connection to a source.
function M.connect(host, port)
  local c = assert(socket.tcp())
  c:settimeout(10)
  assert(c:connect(host, port))
  return c
end

local function read_answer(c)
  local status_line, why = c:receive "*l"
  if not status_line then return nil, why end
  local status, headers = tonumber(status_line:match "^HTTP/1%.1 (%d+)"), {}
  for line in
    function()
      local l = c:receive "*l"
      return l ~= "" and l or nil
    end
  do
    local k, v = line:match "^([^:]+):%s*(.-)%s*$"
    if k then headers[k:lower()] = v end
  end
  if status == 100 then return read_answer(c) end
  local body = headers["content-length"] and c:receive(tonumber(headers["content-length"])) or ""
  return status, body, headers
end
M.read_answer = read_answer

--- One request on a connection: status, body, headers.
function M.request(c, method, path, body, headers)
  local head = { method .. " " .. path .. " HTTP/1.1", "Host: test" }
  for k, v in pairs(headers or {}) do
    head[#head + 1] = k .. ": " .. v
  end
  if body then head[#head + 1] = "Content-Length: " .. #body end
  c:send(table.concat(head, "\r\n") .. "\r\n\r\n" .. (body or ""))
  return read_answer(c)
end

--- A request on a connection of its own.
function M.post(host, port, path, body, headers)
  local c = M.connect(host, port)
  local status, answer, got = M.request(c, body and "POST" or "GET", path, body, headers)
  c:close()
  return status, answer, got
end

local mounted = {}

--- A folder that is a disk of so much ("1m") of its own; nil where that cannot be had (it wants root).
function M.small_disk(path, size)
  os.execute("mkdir -p " .. path)
  if os.execute(("mount -t tmpfs -o size=%s tmpfs %s 2>/dev/null"):format(size, path)) ~= 0 then return nil end
  mounted[#mounted + 1] = path
  return path
end

--- Ends what a test left running, and removes its folders and disks. For after_each.
function M.clean()
  for pid in pairs(running) do
    signal.kill(pid, signal.SIGKILL)
    wait.wait(pid)
  end
  running = {}
  for _, path in ipairs(mounted) do
    os.execute("umount -l " .. path)
  end
  mounted = {}
  for _, path in ipairs(folders) do
    os.execute("rm -rf '" .. path .. "'")
  end
  folders = {}
end

M.posix = posix
return M
