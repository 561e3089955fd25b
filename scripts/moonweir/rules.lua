--- What mw.rule and its like are given: read, checked, and put into one form. Errors begin with
--- what is declared and are raised `level` levels up, where the flow declares it.
local options = require "moonweir.options"

local M = {}

--- The option `from`: handles of what is declared, as a list of { sort, index, name }.
---@param sorts table<string, true>  what may be read from
function M.from(what, from, d, sorts, level)
  local names = sorts.channel and "a source, a channel, or a list of them"
    or "a source or a list of them"
  if from == nil then
    error(what .. ": the option 'from' is missing (" .. names .. ")", level + 1)
  end
  if d.handles[from] then from = { from } end
  if type(from) ~= "table" or #from == 0 then
    error(what .. ": 'from' must be " .. names, level + 1)
  end
  local list = {}
  for i, handle in ipairs(from) do
    local h = d.handles[handle]
    if not h or not sorts[h.sort] then
      error(
        what
          .. ": 'from' must hold sources"
          .. (sorts.channel and " and channels" or "")
          .. (h and ", and '" .. h.name .. "' is a " .. h.sort or ""),
        level + 1
      )
    end
    list[i] = h
  end
  return list
end

local function condition(what, when, level)
  if when == nil then return nil end
  if type(when) ~= "table" then
    error(
      what .. ": 'when' must be a table of fields and values, not " .. tostring(when),
      level + 1
    )
  end
  local result, any = {}, false
  for name, v in pairs(when) do
    if type(name) ~= "string" or name == "" then
      error(what .. ": in 'when', a field is named by a string", level + 1)
    end
    local list = type(v) == "table" and v or { v }
    if #list == 0 then error(what .. ": in 'when', '" .. name .. "' has no values", level + 1) end
    for _, value in ipairs(list) do
      local t = type(value)
      if t ~= "string" and t ~= "number" and t ~= "boolean" then
        error(
          what .. ": in 'when', '" .. name .. "' must be strings, numbers or booleans, not a " .. t,
          level + 1
        )
      end
    end
    result[name], any = list, true
  end
  if not any then error(what .. ": 'when' is empty; leave it out to see every event", level + 1) end
  return result
end

local function key(what, by, level)
  if by == nil or type(by) == "function" then return by end
  local list = type(by) == "string" and { by } or by
  if type(list) ~= "table" or #list == 0 then
    error(what .. ": 'by' must be a field, a list of fields, or a function", level + 1)
  end
  for _, f in ipairs(list) do
    if type(f) ~= "string" or f == "" then
      error(what .. ": in 'by', a field is named by a string", level + 1)
    end
  end
  return list
end

local KNOWN = { "from", "by", "when", "timeout", "shadow", "canary" }

--- What a rule on trial is compared with: the name of another rule, or all that decide (true).
local function trial(what, given, by, level)
  local role = {}
  if given.shadow ~= nil and given.canary ~= nil then
    error(what .. ": a rule is a 'shadow' or a 'canary', not both", level + 1)
  end
  if given.shadow then
    if given.shadow ~= true and type(given.shadow) ~= "string" then
      error(
        what .. ": 'shadow' must be true or the name of a rule, not " .. tostring(given.shadow),
        level + 1
      )
    end
    role.against, role.share = given.shadow, 0
  elseif given.canary ~= nil then
    local canary = type(given.canary) == "table" and given.canary or { given.canary }
    local share = canary[1]
    if type(share) ~= "number" or share < 0 or share > 1 then
      error(what .. ": 'canary' must be a share from 0 to 1 (or { share, \"rule\" })", level + 1)
    end
    if not by then
      error(what .. ": a 'canary' decides a share of the keys, so it needs 'by'", level + 1)
    end
    role.against, role.share = canary[2] or true, share
  else
    return nil
  end
  return role
end

--- A rule as the graph and the drivers know it.
---@param d table  what was declared so far
function M.read(name, given, fn, d, level)
  local what = "rule '" .. name .. "'"
  options.only(what, given, KNOWN, level + 1)
  if type(fn) ~= "function" then
    error(what .. ": the third argument is the function to call, not " .. tostring(fn), level + 1)
  end
  local timeout
  if given.timeout ~= nil then
    local ns, expected = options.duration(given.timeout)
    if not ns then error(what .. ": 'timeout' must be " .. expected, level + 1) end
    timeout = ns / 1e9
  end
  local by = key(what, given.by, level + 1)
  return {
    name = name,
    from = M.from(what, given.from, d, { source = true, channel = true }, level + 1),
    by = by,
    when = condition(what, given.when, level + 1),
    timeout = timeout,
    trial = trial(what, given, by, level + 1),
    fn = fn,
  }
end

return M
