--- Python with the trainers of models, in an environment that is made on first use. A test that cannot have it fails.
local s = require "support"
local fcntl, unistd = require "posix.fcntl", require "posix.unistd"

local M = {}
local wanted = s.root .. "/spec/models/requirements.txt"

local function must(argv, seconds, what)
  local code, out, err = s.run(argv, nil, seconds)
  assert(code == 0, what .. ": " .. out .. err)
end

--- What `fn` gives, which is called while no other process is in here with the same name.
local function alone(name, fn)
  local file = assert(fcntl.open(s.root .. "/build/" .. name .. ".lock", fcntl.O_CREAT + fcntl.O_RDWR, 384))
  assert(fcntl.fcntl(file, fcntl.F_SETLKW, { l_type = fcntl.F_WRLCK, l_whence = unistd.SEEK_SET, l_start = 0, l_len = 0 }))
  local ok, value = pcall(fn)
  unistd.close(file)
  return assert(ok and value, value)
end

--- The interpreter's path. `requirements`: a file of pinned packages, those of the specs where it is not given; `name`: of the
--- environment's folder.
function M.ready(requirements, name)
  name = name or "python"
  local file, home = requirements or wanted, s.root .. "/build/" .. name
  local python = home .. "/bin/python"
  return alone(name, function()
    if s.read(home .. "/ready") == s.read(file) then return python end
    must({ "python3", "-m", "venv", "--clear", home }, 120, "the environment cannot be made")
    local pip = { home .. "/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", file }
    must(pip, 400, "the packages cannot be fetched")
    s.write(home .. "/ready", s.read(file))
    return python
  end)
end

--- The folder that a script of spec/models has filled, once for each version of it; `requirements` and `name` as above.
function M.made(script, requirements, name)
  local path = s.root .. "/spec/models/" .. script .. ".py"
  local folder = s.root .. "/build/models/" .. script
  local version = s.read(path) .. s.read(requirements or wanted) .. s.read(s.root .. "/scripts/python/moonweir_export.py")
  return alone(script, function()
    if s.read(folder .. "/made") == version then return folder end
    local python = M.ready(requirements, name)
    must({ "rm", "-rf", folder }, 10, "the folder cannot be cleared")
    must({ "mkdir", "-p", folder }, 10, "the folder cannot be made")
    must({ python, path, folder }, 300, script .. ".py")
    s.write(folder .. "/made", version)
    return folder
  end)
end

return M
