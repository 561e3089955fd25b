--- Rules that wait: drivers run in coroutines, and a rule that asks something outside gives up
--- its turn. The scheduler goes on with the next row in another coroutine; when the answer is
--- there, the
--- one that waited ends its row and is free again (core/lua/park.h).
local core = require "moonweir.core"
local budget = require "moonweir.budget"
local event = require "moonweir.event"
local C, R = core.C, core.view()
local create, resume, yield, running =
  coroutine.create, coroutine.resume, coroutine.yield, coroutine.running

core.ffi.cdef [[
void mw_view_command(mw_view *v, uint32_t arguments);
void mw_view_argument(mw_view *v, const char *bytes, size_t len);
uint32_t mw_view_ask(mw_view *v, uint32_t store);
void mw_view_park(mw_view *v);
int mw_view_defer(mw_view *v, uint32_t row);
]]

local M = {}

local DONE = 0

--- Coroutines that are free, and those that wait, by number of their question.
local free, free_count, waiting = {}, 0, {}
--- The coroutine that a driver runs in now.
local current

local function body(driver)
  while true do
    driver()
    driver = yield(DONE)
  end
end

--- Lets a coroutine go on. True: it is done, and free again. An error leaves it dead.
local function step(co, value)
  current = co
  local ok, what = resume(co, value)
  current = nil
  if not ok then error(what, 0) end
  if what == DONE then
    free_count = free_count + 1
    free[free_count] = co
    return true
  end
  waiting[what] = co
  C.mw_view_park(R)
  return false
end

--- Runs a driver over the rows of the run, past those that wait.
function M.run(driver)
  while true do
    local co = free[free_count]
    if co then
      free[free_count] = nil
      free_count = free_count - 1
    else
      co = create(body)
    end
    if step(co, driver) or R.alone ~= 0 then return end
    R.row = R.base + 1
    R.overlaid = 0
    if R.row >= R.given then return end
  end
end

--- The answer to a question is there.
function M.resume(question)
  local co = waiting[question]
  waiting[question] = nil
  step(co, nil)
end

--- Waits for the answer to the question that was just asked. What belongs to the rule that runs is
--- put back as it was.
function M.await()
  local co = running()
  if not co or co ~= current then
    error("this waits for an answer, which a coroutine of the rule's own cannot", 3)
  end
  local rule, now, overlaid, overlay = R.rule, R.now, R.overlaid, event.overlay()
  yield(R.asked)
  R.rule, R.now, R.overlaid = rule, now, overlaid
  event.set_overlay(overlay)
  budget.refill()
end

return M
