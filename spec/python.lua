--- Python with the trainers of models, in an environment that is made on first use. A test that cannot have it fails.
local s = require "support"

local M = {}
local wanted = s.root .. "/spec/models/requirements.txt"

local function must(argv, seconds, what)
  local code, out, err = s.run(argv, nil, seconds)
  assert(code == 0, what .. ": " .. out .. err)
end

--- The interpreter's path. `requirements`: a file of pinned packages, those of the specs where it is not given; `name`: of the
--- environment's folder.
function M.ready(requirements, name)
  local file, home = requirements or wanted, s.root .. "/build/" .. (name or "python")
  local python = home .. "/bin/python"
  if s.read(home .. "/ready") == s.read(file) then return python end
  must({ "python3", "-m", "venv", "--clear", home }, 120, "the environment cannot be made")
  local pip = { home .. "/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", file }
  must(pip, 400, "the packages cannot be fetched")
  s.write(home .. "/ready", s.read(file))
  return python
end

--- The folder that a script of spec/models has filled, once for each version of it; `requirements` and `name` as above.
function M.made(script, requirements, name)
  local path = s.root .. "/spec/models/" .. script .. ".py"
  local folder = s.root .. "/build/models/" .. script
  local version = s.read(path) .. s.read(requirements or wanted) .. s.read(s.root .. "/scripts/python/moonweir_export.py")
  if s.read(folder .. "/made") == version then return folder end
  local python = M.ready(requirements, name)
  must({ "rm", "-rf", folder }, 10, "the folder cannot be cleared")
  must({ "mkdir", "-p", folder }, 10, "the folder cannot be made")
  must({ python, path, folder }, 300, script .. ".py")
  s.write(folder .. "/made", version)
  return folder
end

return M
