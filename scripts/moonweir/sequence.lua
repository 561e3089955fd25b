--- Patterns: `mw.sequence(name, { by, steps, within, without })`: one kind of event, then another,
--- within a time and without a third between, by key.
---
--- One run of a key is followed at a time: a first step that comes again begins it anew, as long as
--- no second has come (so it is the latest that counts).
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local event = require "moonweir.event"
local type, error, ipairs = type, error, ipairs

local M = {}

local KNOWN = { "by", "steps", "within", "without" }

--- The key of an event: a value, or a list of them.
function M.key(e, fields)
  if #fields == 1 then
    local v = keep.field(e, fields[1])
    return v
  end
  local parts = {}
  for i, field in ipairs(fields) do
    parts[i] = keep.field(e, field)
  end
  return parts
end

--- Adds `mw.sequence`.
function M.open(mw, kit)
  function mw.sequence(name, given)
    local what = "sequence '" .. tostring(name) .. "'"
    given = kit.table_of(what, given, 2)
    options.only(what, given, KNOWN, 2)
    local by = keep.by(what, given.by, "", 2)
    local steps, without = given.steps, given.without
    if type(steps) ~= "table" or #steps < 2 then
      error(what .. ": 'steps' is a list of two or more functions of an event", 2)
    end
    for _, step in ipairs(steps) do
      if type(step) ~= "function" then error(what .. ": each of 'steps' is a function", 2) end
    end
    if without ~= nil and type(without) ~= "function" then
      error(what .. ": 'without' is a function of an event", 2)
    end
    local ns, expected = options.duration(given.within)
    if not ns then error(what .. ": 'within' must be " .. expected, 2) end
    local runs = mw.state("sequence." .. name, { ttl = ns / 1e9 })
    local within = ns / 1e9
    local methods = {}

    --- Looks at an event. The events of the run, as plain tables, when it ends it; else nil.
    function methods.add(_, e)
      local key, now = M.key(e, by), mw.now()
      local run = runs:get(key)
      if run and now - run.since > within then run = nil end
      if run and without and without(e) then
        runs:delete(key)
        return nil
      end
      local step = run and run.step or 0
      if steps[step + 1](e) then
        local events = run and run.events or mw.array {}
        events[step + 1] = event.decode(e)
        if step + 1 == #steps then
          runs:delete(key)
          return events
        end
        runs:set(key, { step = step + 1, since = run and run.since or now, events = events })
      elseif step == 1 and steps[1](e) then
        runs:set(key, { step = 1, since = now, events = mw.array { event.decode(e) } })
      end
      return nil
    end

    return kit.handle_of("sequence", name, 0, methods)
  end
end

return M
