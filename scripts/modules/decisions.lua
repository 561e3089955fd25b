--- Decision tables: a csv of conditions and outcomes that analysts edit.
---
---   country,amount,channel,=>decision,=>limit
---   FR|DE,>1000,web,review,500
---   ,<10,,accept,
---
--- Columns whose names begin with => are outcomes, the others are fields of the event. A condition
--- is empty or * (anything), a value, several values with |, a comparison (> >= < <= != and a
--- value), or a range of numbers (10..20). Of the rows that match the first counts.
---
---   local decisions = require "moonweir.decisions"
---   local policy = decisions.table("policy.csv")
---   local outcome = policy:decide(e)   -- { decision = "review", limit = 500, row = 2 }, or nil
---
--- Rows are found by an index of the columns in which they name values; what it costs to decide
--- grows with the number of ways in which rows are filled in, and with the rows that nearly match,
--- not with the number of rows.
local mw = require "moonweir"

local M = {}

local function value_of(text)
  local n = tonumber(text)
  if n then return n end
  if text == "true" then return true end
  if text == "false" then return false end
  return text
end

--- A condition as { any = true }, { values = list }, or { test = function }; or nil and why not.
local function condition_of(cell)
  local text = tostring(cell == nil and "" or cell):match "^%s*(.-)%s*$"
  if text == "" or text == "*" then return { any = true } end
  local sign, rest = text:match "^([<>!]=?)%s*(.+)$"
  if sign then
    local limit = value_of(rest)
    if sign == "!=" then return { test = function(v) return v ~= limit end } end
    if type(limit) ~= "number" then return nil, "'" .. rest .. "' is no number" end
    if sign == ">" then
      return { test = function(v) return type(v) == "number" and v > limit end }
    end
    if sign == ">=" then
      return { test = function(v) return type(v) == "number" and v >= limit end }
    end
    if sign == "<" then
      return { test = function(v) return type(v) == "number" and v < limit end }
    end
    if sign == "<=" then
      return { test = function(v) return type(v) == "number" and v <= limit end }
    end
    return nil, "'" .. sign .. "' is no comparison"
  end
  local low, high = text:match "^(%-?[%d%.]+)%.%.(%-?[%d%.]+)$"
  if low then
    low, high = tonumber(low), tonumber(high)
    if not low or not high then return nil, "'" .. text .. "' is no range of numbers" end
    return { test = function(v) return type(v) == "number" and v >= low and v <= high end }
  end
  local values = {}
  for part in (text .. "|"):gmatch "%s*(.-)%s*|" do
    values[#values + 1] = value_of(part)
  end
  return { values = values }
end

local function columns_of(rows)
  local names, conditions, outcomes = {}, {}, {}
  for name in pairs(rows[1] or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local outcome = name:match "^=>%s*(.+)$"
    if outcome then
      outcomes[#outcomes + 1] = { column = name, name = outcome }
    else
      conditions[#conditions + 1] = name
    end
  end
  return conditions, outcomes
end

--- Rows that name values in the same columns, by those values.
local function group_of(groups, order, mask)
  if not groups[mask] then
    groups[mask] = { columns = {}, rows = {} }
    order[#order + 1] = groups[mask]
    for column in mask:gmatch "[^\30]+" do
      table.insert(groups[mask].columns, column)
    end
  end
  return groups[mask]
end

--- Every combination of the values that a row names, as keys.
local function keys_of(row, columns, at, prefix, found)
  if at > #columns then
    found[#found + 1] = prefix
    return found
  end
  for _, v in ipairs(row.values[columns[at]]) do
    keys_of(row, columns, at + 1, prefix .. type(v) .. tostring(v) .. "\31", found)
  end
  return found
end

--- Reads a table; an error names the file and line that is wrong.
function M.table(file)
  local rows, above = mw.rows(file)
  local conditions, outcomes = columns_of(rows)
  if #outcomes == 0 then
    error(file .. ":1: no column is an outcome: its name begins with =>", 2)
  end
  local groups, order = {}, {}
  for i, cells in ipairs(rows) do
    local row = { number = i + above, values = {}, tests = {}, outcome = { row = i + above } }
    local mask = {}
    for _, column in ipairs(conditions) do
      local c, why = condition_of(cells[column])
      if not c then error(("%s:%d: column '%s': %s"):format(file, i + above, column, why), 2) end
      if c.values then
        row.values[column] = c.values
        mask[#mask + 1] = column
      elseif c.test then
        row.tests[#row.tests + 1] = { column = column, test = c.test }
      end
    end
    for _, outcome in ipairs(outcomes) do
      local text = cells[outcome.column]
      if text ~= nil and text ~= "" then row.outcome[outcome.name] = value_of(tostring(text)) end
    end
    local group = group_of(groups, order, table.concat(mask, "\30"))
    for _, key in ipairs(keys_of(row, group.columns, 1, "", {})) do
      group.rows[key] = group.rows[key] or {}
      table.insert(group.rows[key], row)
    end
  end

  local decisions = {}

  local function field(e, name)
    for part in name:gmatch "[^%.]+" do
      if type(e) ~= "table" then return nil end
      e = e[part]
    end
    return e
  end

  local function matches(row, e)
    for _, t in ipairs(row.tests) do
      if not t.test(field(e, t.column)) then return false end
    end
    return true
  end

  --- The outcome of the first row that matches, with its line as `row`; nil: none does.
  function decisions.decide(_, e)
    local best
    for _, group in ipairs(order) do
      local key = ""
      for _, column in ipairs(group.columns) do
        local v = field(e, column)
        key = key .. type(v) .. tostring(v) .. "\31"
      end
      for _, row in ipairs(group.rows[key] or {}) do
        if best and row.number > best.number then break end
        if matches(row, e) then
          best = row
          break
        end
      end
    end
    if not best then return nil end
    local copy = {}
    for k, v in pairs(best.outcome) do
      copy[k] = v
    end
    return copy
  end

  function decisions.count(_) return #rows end
  return decisions
end

return M
