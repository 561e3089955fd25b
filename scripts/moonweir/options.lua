--- Options as flows write them, checked against what a kind knows, with units resolved: durations
--- to nanoseconds, sizes to bytes. Errors name the declaration, the option, what came and what was
--- expected.
local M = {}

local DURATION = { ns = 1, us = 1e3, ms = 1e6, s = 1e9, m = 60e9, h = 3600e9, d = 86400e9 }
local SIZE = {
  B = 1,
  KB = 1e3,
  MB = 1e6,
  GB = 1e9,
  KiB = 1024,
  MiB = 1024 ^ 2,
  GiB = 1024 ^ 3,
  TiB = 1024 ^ 4,
}

--- Edits between two words, where swapping two neighbours is one (optimal string alignment
--- distance), for suggestions.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do
    rows[0][j] = j
  end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local least =
        math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        least = math.min(least, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = least
    end
  end
  return rows[#a][#b]
end

--- "; did you mean 'x'?" for the nearest of some names, or a list of them.
---@param word string
---@param names string[]
---@return string
function M.suggest(word, names)
  local best, least
  for _, name in ipairs(names) do
    local d = distance(word:lower(), name:lower())
    if name:find(word, 1, true) == 1 and #word > 2 then d = 1 end
    if not least or d < least then
      best, least = name, d
    end
  end
  if best and least <= math.max(1, math.floor(#word / 3)) then
    return "; did you mean '" .. best .. "'?"
  end
  local sorted = {}
  for i, name in ipairs(names) do
    sorted[i] = name
  end
  table.sort(sorted)
  return " (there are: " .. table.concat(sorted, ", ") .. ")"
end

local function describe(v)
  if type(v) == "string" then return "'" .. v .. "'" end
  if type(v) == "table" then return "a table" end
  return tostring(v)
end

local function unit(v, units, example)
  if type(v) == "number" then return v >= 0 and v or nil, example end
  if type(v) ~= "string" then return nil, example end
  local digits, suffix = v:match "^%s*([%d%.]+)%s*(%a*)%s*$"
  local n, factor = tonumber(digits), suffix and units[suffix]
  if n and suffix == "" then factor = units.B or 1e9 end
  if not n or not factor then return nil, example end
  return math.floor(n * factor + 0.5)
end

--- Nanoseconds of "250ms", "60s", "24h" or a number of seconds.
function M.duration(v)
  if type(v) == "number" then
    return v >= 0 and math.floor(v * 1e9 + 0.5) or nil, 'a duration such as "250ms" or "60s"'
  end
  return unit(v, DURATION, 'a duration such as "250ms" or "60s"')
end

--- Bytes of "64KiB", "1GiB" or a number.
function M.size(v) return unit(v, SIZE, 'a size such as "64KiB" or "1GiB"') end

local function texts(v)
  if type(v) == "string" then return v end
  if type(v) ~= "table" or #v == 0 then return nil, "a string or a list of strings" end
  local list = {}
  for i, s in ipairs(v) do
    if type(s) ~= "string" then return nil, "a list of strings only" end
    list[i] = s
  end
  return list
end

local readers = {
  text = function(v)
    if type(v) == "string" then
      return v
    elseif type(v) == "number" then
      return tostring(v)
    end
    return nil, "a string"
  end,
  texts = texts,
  number = function(v)
    if type(v) == "number" then return v end
    return nil, "a number"
  end,
  count = function(v)
    if type(v) == "number" and v >= 0 and v % 1 == 0 then return v end
    return nil, "a whole number"
  end,
  duration = M.duration,
  size = M.size,
  bool = function(v)
    if type(v) == "boolean" then return v end
    return nil, "true or false"
  end,
  map = function(v)
    if type(v) ~= "table" then return nil, "a table of names and texts" end
    local map = {}
    for k, s in pairs(v) do
      if type(k) ~= "string" or (type(s) ~= "string" and type(s) ~= "number") then
        return nil, "a table of names and texts"
      end
      map[k] = tostring(s)
    end
    return map
  end,
}

--- Only options of these names are given.
function M.only(what, given, names, level)
  for k in pairs(given) do
    local known = false
    for _, name in ipairs(names) do
      known = known or k == name
    end
    if not known then
      error(
        what .. ": there is no option '" .. tostring(k) .. "'" .. M.suggest(tostring(k), names),
        level + 1
      )
    end
  end
end

--- Checks options against a list of { name=, type=, fallback=, choices=, inside= } and returns them
--- resolved, fallbacks included. Errors are raised `level` levels up, beginning with `what`
--- ("source 'orders'").
function M.check(what, given, known, level)
  local names, by_name, result = {}, {}, {}
  for i, o in ipairs(known) do
    names[i] = o.name
    by_name[o.name] = o
  end
  for k in pairs(given) do
    if not by_name[k] then
      error(
        what .. ": there is no option '" .. tostring(k) .. "'" .. M.suggest(tostring(k), names),
        level + 1
      )
    end
  end
  for _, o in ipairs(known) do
    local v = given[o.name]
    if v == nil and o.fallback == "!" then
      error(what .. ": the option '" .. o.name .. "' is missing (" .. o.doc .. ")", level + 1)
    end
    if o.type == "table" then
      if v ~= nil and type(v) ~= "table" then
        error(what .. ": '" .. o.name .. "' must be a table, not " .. describe(v), level + 1)
      end
      if v ~= nil then
        result[o.name] = M.check(what .. ", in '" .. o.name .. "'", v, o.inside, level + 1)
      end
    else
      if v == nil then
        v = o.fallback
        if v and (o.type == "number" or o.type == "count") then v = tonumber(v) end
        if v and o.type == "bool" then v = v == "true" end
      end
      if v ~= nil then
        local resolved, expected = readers[o.type](v)
        if resolved == nil then
          error(
            what .. ": '" .. o.name .. "' must be " .. expected .. ", not " .. describe(v),
            level + 1
          )
        end
        if o.choices and not ("|" .. o.choices .. "|"):find("|" .. resolved .. "|", 1, true) then
          local list = {}
          for choice in o.choices:gmatch "[^|]+" do
            list[#list + 1] = choice
          end
          local hint = M.suggest(tostring(v), list)
          error(("%s: '%s' cannot be %s%s"):format(what, o.name, describe(v), hint), level + 1)
        end
        result[o.name] = resolved
      end
    end
  end
  return result
end

return M
