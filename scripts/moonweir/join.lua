--- Joins: `mw.join(name, { by, within, most })`: events of two streams with the same key that are
--- no
--- further apart than a time. Each pair is found once, by the one that comes later.
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local event = require "moonweir.event"
local sequence = require "moonweir.sequence"
local error, ipairs = error, ipairs

local M = {}

local KNOWN = { "by", "within", "most" }

--- Adds `mw.join`.
function M.open(mw, kit)
  function mw.join(name, given)
    local what = "join '" .. tostring(name) .. "'"
    given = kit.table_of(what, given, 2)
    options.only(what, given, KNOWN, 2)
    local by = keep.by(what, given.by, "", 2)
    local ns, expected = options.duration(given.within)
    if not ns then error(what .. ": 'within' must be " .. expected, 2) end
    local most = given.most or 100
    if type(most) ~= "number" or most < 1 then
      error(what .. ": 'most' is how many events of a side are kept for a key", 2)
    end
    local within = ns / 1e9
    local sides = mw.state("join." .. name, { ttl = ns / 1e9 })

    --- Notes an event of one side; those of the other that it belongs with, oldest first.
    local function add(mine, other, e)
      local key, now = sequence.key(e, by), mw.now()
      if not sides:is_here(key) then
        error(what .. ": this key is kept on another shard: give the rule the join's 'by'", 3)
      end
      local record = sides:get(key) or {}
      local list, matches = record[mine] or mw.array {}, {}
      for _, item in ipairs(record[other] or {}) do
        if now - item.at <= within and item.at - now <= within then
          matches[#matches + 1] = item.event
        end
      end
      local kept = mw.array {}
      for _, item in ipairs(list) do
        if now - item.at <= within then kept[#kept + 1] = item end
      end
      kept[#kept + 1] = { at = now, event = event.decode(e) }
      while #kept > most do
        table.remove(kept, 1)
      end
      sides:put(key, mine, kept)
      return matches
    end

    local methods = {}
    function methods.left(_, e) return add("left", "right", e) end
    function methods.right(_, e) return add("right", "left", e) end
    return kit.handle_of("join", name, 0, methods)
  end
end

return M
