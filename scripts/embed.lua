-- embed.lua: writes Lua modules into a C file, for core/lua/embedded.h: the runtime's as bytecode,
-- those that flows may require (scripts/modules) as they are.
--   luajit embed.lua OUTPUT.c MODULE.lua ...
local out = assert(io.open(arg[1], "w"))
out:write '#include "lua/embedded.h"\n'
local names = {}
for i = 2, #arg do
  local path = arg[i]
  local folder, base = path:match "([^/]+)/([^/]+)%.lua$"
  local name = folder == "modules" and "module:" .. base or "moonweir." .. base
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  local code = string.dump(assert(loadstring(text, "=" .. name)), false)
  if folder == "modules" then code = text end
  local bytes = {}
  for j = 1, #code do
    bytes[j] = ("%d,%s"):format(code:byte(j), j % 32 == 0 and "\n" or "")
  end
  out:write(("static const unsigned char module_%d[] = {\n%s};\n"):format(i, table.concat(bytes)))
  names[#names + 1] = ('{"%s", (const char *)module_%d, %d}'):format(name, i, #code)
end
names[#names + 1] = "{0}"
out:write("const mw_embedded mw_embedded_modules[] = {\n" .. table.concat(names, ",\n") .. "};\n")
out:close()
