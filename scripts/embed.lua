-- embed.lua: writes Lua modules as bytecode into a C file, for core/lua/embedded.h.
--   luajit embed.lua OUTPUT.c MODULE.lua ...
local out = assert(io.open(arg[1], "w"))
out:write '#include "lua/embedded.h"\n'
local names = {}
for i = 2, #arg do
  local path = arg[i]
  local name = "moonweir." .. path:match "([^/]+)%.lua$"
  local file = assert(io.open(path, "rb"))
  local code = string.dump(assert(loadstring(file:read "*a", "=" .. name)), false)
  file:close()
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
