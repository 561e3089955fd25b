--- Rules that wait: drivers run in coroutines, and a rule that asks something outside gives up
--- its turn. The scheduler goes on with the next row in another coroutine; when the answer is
--- there, the one that waited ends its row and is free again (core/lua/park.h).
local core = require "moonweir.core"
local budget = require "moonweir.budget"
local event = require "moonweir.event"
local C, R = core.C, core.view()
local create, resume, yield, running, status =
  coroutine.create, coroutine.resume, coroutine.yield, coroutine.running, coroutine.status

core.ffi.cdef [[
int mw_view_cached(mw_view *v, uint32_t store, const char *key, size_t len);
void mw_view_hold(mw_view *v);
int mw_view_take(mw_view *v, uint32_t number);
void mw_view_release(mw_view *v);
void mw_view_park(mw_view *v);
int mw_view_defer(mw_view *v, uint32_t row);
]]

--- C adds send and reply (core/lua/ask.h).
local M = {}

local DONE = 0

--- Coroutines that are free, and those that wait, by number of their question, with their overlays.
local free, free_count, waiting, overlays = {}, 0, {}, {}
--- The coroutine that a driver runs in now; or one that `all` runs in its place.
local current

local function body(driver)
  while true do
    driver()
    driver = yield(DONE)
  end
end

--- Lets a coroutine go on. True: it is done, and free again. An error leaves it dead.
local function go_on(co, value, why)
  current = co
  local ok, question = resume(co, value, why)
  current = nil
  if not ok then error(question, 0) end
  if question == DONE then
    free_count = free_count + 1
    free[free_count] = co
    return true
  end
  waiting[question], overlays[question] = co, event.overlay()
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
    if go_on(co, driver) or R.alone ~= 0 then return end
    R.row = R.base + 1
    R.overlaid = 0
    if R.row >= R.given then return end
  end
end

--- The answer to a question is there. What belongs to the rule that asked is as it was then.
function M.resume(question)
  local co = waiting[question]
  event.set_overlay(overlays[question])
  waiting[question], overlays[question] = nil, nil
  budget.refill()
  go_on(co, M.reply())
end

--- An error where nobody can wait: before something is asked.
function M.check()
  if running() ~= current then
    error("this waits for an answer, which a coroutine of the rule's own cannot", 3)
  end
end

--- Waits for the answer to a question.
function M.await(question) yield(question) end

--- Asks a store, and waits for the reply. Nil and why where there is none.
function M.ask(...) return yield(M.send(current, ...)) end

--- Runs each of the functions until it waits for an answer; then waits for the first that asked,
--- and so on.
local function run_all(co, results, functions)
  local asked, first, last = {}, 1, 0
  local function run(i, of, ...)
    current = of
    local ok, what = resume(of, ...)
    current = co
    if not ok then error(what, 0) end
    if status(of) == "dead" then
      results[i] = what
      return
    end
    C.mw_view_hold(R)
    last = last + 1
    asked[last] = { i, of, what }
  end
  for i = 1, #functions do
    run(i, create(functions[i]))
  end
  while first <= last do
    local i, of, question = unpack(asked[first])
    asked[first] = nil
    first = first + 1
    if C.mw_view_take(R, question) == 0 then yield(question) end
    run(i, of, M.reply())
  end
end

--- The first result of each function of a list, by its number; what they ask travels together. One
--- that fails ends all.
function M.all_of(functions)
  local co, results = running(), {}
  if not co or co ~= current then
    for i = 1, #functions do
      results[i] = functions[i]()
    end
    return results
  end
  local ok, why = pcall(run_all, co, results, functions)
  if not ok then
    current = co
    C.mw_view_release(R)
    error(why, 0)
  end
  return results
end

--- The same of functions that are given one by one, as so many results.
function M.all(...)
  local functions, n = { ... }, select("#", ...)
  for i = 1, n do
    if type(functions[i]) ~= "function" then
      error("mw.all runs functions; number " .. i .. " is a " .. type(functions[i]), 2)
    end
  end
  return unpack(M.all_of(functions), 1, n)
end

return M
