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
uint32_t mw_view_ask(mw_view *v, uint32_t store, const char *key, size_t len, int how);
int mw_view_cached(mw_view *v, uint32_t store, const char *key, size_t len);
void mw_view_hold(mw_view *v);
int mw_view_take(mw_view *v, uint32_t number);
void mw_view_release(mw_view *v);
void mw_view_park(mw_view *v);
int mw_view_defer(mw_view *v, uint32_t row);
]]

local M = {}

local DONE = 0

--- Coroutines that are free, and those that wait, by number of their question.
local free, free_count, waiting = {}, 0, {}
--- The coroutine that a driver runs in now; or one that `all` runs in its place.
local current
--- Those that `all` runs.
local inner = setmetatable({}, { __mode = "k" })

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

--- Lets the driver wait, and puts back what belongs to the rule that runs.
local function rest(question)
  local rule, now, overlaid, overlay = R.rule, R.now, R.overlaid, event.overlay()
  yield(question)
  R.rule, R.now, R.overlaid = rule, now, overlaid
  event.set_overlay(overlay)
  budget.refill()
end

--- Waits for the answer to the question that was just asked.
function M.await()
  local co = running()
  if not co or co ~= current then
    error("this waits for an answer, which a coroutine of the rule's own cannot", 3)
  end
  if inner[co] then
    yield(R.asked)
  else
    rest(R.asked)
  end
end

--- Runs each function until it waits for an answer; then waits for the first that asked, and so on.
local function run_all(co, results, ...)
  local asked, first, last = {}, 1, 0
  local function go_on(i, of)
    current = of
    local ok, what = resume(of)
    current = co
    if not ok then error(what, 0) end
    if coroutine.status(of) == "dead" then
      results[i] = what
      return
    end
    C.mw_view_hold(R)
    last = last + 1
    asked[last] = { i, of, what }
  end
  for i = 1, select("#", ...) do
    local of = create((select(i, ...)))
    inner[of] = true
    go_on(i, of)
  end
  while first <= last do
    local i, of, question = unpack(asked[first])
    asked[first] = nil
    first = first + 1
    if C.mw_view_take(R, question) == 0 then
      if inner[co] then
        yield(question)
      else
        rest(question)
      end
    end
    go_on(i, of)
  end
end

--- The first result of each function; what they ask travels together. One that fails ends all.
function M.all(...)
  local n = select("#", ...)
  for i = 1, n do
    local fn = (select(i, ...))
    if type(fn) ~= "function" then
      error("mw.all runs functions; number " .. i .. " is a " .. type(fn), 2)
    end
  end
  local co, results = running(), {}
  if not co or co ~= current then
    for i = 1, n do
      results[i] = (select(i, ...))()
    end
    return unpack(results, 1, n)
  end
  local ok, why = pcall(run_all, co, results, ...)
  if not ok then
    current = co
    C.mw_view_release(R)
    error(why, 0)
  end
  return unpack(results, 1, n)
end

return M
