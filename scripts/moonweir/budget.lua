--- The budget of rules: how long they may run. The loops and functions of a flow count it down
--- (core/lua/budget.h puts that into their source); below zero `over` looks at the clock.
---
--- Time is the thread's processor time. A rule's own pcall cannot get around its end: once it is
--- over, every check raises the error again, until the driver begins the next rule.
local core = require "moonweir.core"
local C, R = core.C, core.view()

core.ffi.cdef "double mw_budget_clock(void);"

local M = {}

--- Checks between two looks at the clock, at first and at most.
M.FIRST, M.MOST = 2000, 50000

--- What the source counts down: [1] turns of loops left, [2] calls left; [3] is when the rule was
--- first looked at, 0: not yet.
M.table = { M.FIRST, M.FIRST, 0 }
local B = M.table

--- Seconds that a rule may run, by number of the rule; others have the default.
M.limits, M.default = {}, 0.1

local quantum, looked = M.FIRST, 0
local phase, phase_began, phase_limit = nil, 0, 0

--- Where the flow's own code is, as errors begin.
local function place()
  for level = 3, 20 do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if info.source:sub(1, 1) == "@" and info.currentline > 0 then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
  end
  return ""
end

local function spend(what, began, now, limit)
  if now - began <= limit then
    if now - looked > 0.001 then
      quantum = math.max(10, math.floor(quantum / 4))
    elseif now - looked < 0.0002 then
      quantum = math.min(M.MOST, quantum * 2)
    end
    B[1], B[2], looked = quantum, quantum, now
    return
  end
  B[1], B[2] = -1, -1
  local why = "%s%s ran longer than its %g ms: is there a loop that does not end?"
  error(why:format(place(), what, limit * 1000), 0)
end

--- Called by the flow's code when its count is below zero.
function B.over()
  local now = C.mw_budget_clock()
  C.mw_view_alive(R)
  if R.given == 0 and phase then return spend(phase, phase_began, now, phase_limit) end
  if B[3] == 0 then
    B[3], looked, quantum = now, now, M.FIRST
    B[1], B[2] = quantum, quantum
    return
  end
  spend("the rule", B[3], now, M.limits[R.rule] or M.default)
end

--- Begins something that is no rule: loading the flow, a fixture.
function M.begin(what, limit)
  phase, phase_began, phase_limit = what, C.mw_budget_clock(), limit
  looked, quantum = phase_began, M.FIRST
  B[1], B[2], B[3] = quantum, quantum, 0
end

--- Whether that still has time; an error when not.
function M.check()
  B[1] = 0
  B.over()
end

--- Begins a rule or a key, where no driver does.
function M.refill()
  B[1], B[2], B[3] = M.FIRST, M.FIRST, 0
end

--- Takes what a call of the library costs, in turns of a loop: nothing inside it is counted.
function M.charge(turns)
  B[1] = B[1] - turns
  if B[1] < 0 then B.over() end
end

return M
