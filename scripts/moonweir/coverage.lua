--- Which lines of a flow's files its fixtures ran, in the format of lcov (geninfo's tracefiles).
---
--- The lines that could run are those that bytecode was made for; those that did are told by a
--- hook, which needs the compiler to be off.
local runtime = require "moonweir.runtime"
local util = require "jit.util"

local M = {}

local hits = {}

function M.start()
  jit.off()
  jit.flush()
  debug.sethook(function(_, line)
    local source = debug.getinfo(2, "S").source
    local lines = hits[source]
    if not lines then
      lines = {}
      hits[source] = lines
    end
    lines[line] = (lines[line] or 0) + 1
  end, "l")
end

--- Lines that a prototype, and those inside it, have bytecode for.
local function lines_of(proto, lines)
  local info = util.funcinfo(proto)
  for pc = 1, info.bytecodes - 1 do
    local at = util.funcinfo(proto, pc)
    if at.currentline then lines[at.currentline] = true end
  end
  if info.children then
    for n = -1, -1000, -1 do
      local k = util.funck(proto, n)
      if k == nil then break end
      if type(k) == "proto" then lines_of(k, lines) end
    end
  end
  return lines
end

--- The trace file, and a line for people.
---@return string lcov, string summary
function M.report()
  debug.sethook()
  local out, found, run, files = {}, 0, 0, 0
  local paths = {}
  for path in pairs(runtime.compiled()) do
    paths[#paths + 1] = path
  end
  table.sort(paths)
  for _, path in ipairs(paths) do
    local lines, numbers, file_run = lines_of(runtime.compiled()[path], {}), {}, 0
    local ran = hits["@" .. path] or {}
    for line in pairs(lines) do
      numbers[#numbers + 1] = line
    end
    table.sort(numbers)
    out[#out + 1] = "TN:\nSF:" .. path
    for _, line in ipairs(numbers) do
      out[#out + 1] = ("DA:%d,%d"):format(line, ran[line] or 0)
      file_run = file_run + (ran[line] and 1 or 0)
    end
    out[#out + 1] = ("LF:%d\nLH:%d\nend_of_record"):format(#numbers, file_run)
    found, run, files = found + #numbers, run + file_run, files + 1
  end
  local share = found > 0 and run / found * 100 or 100
  local summary = ("coverage: %.1f %% of %d lines in %d files"):format(share, found, files)
  return table.concat(out, "\n") .. "\n", summary
end

return M
