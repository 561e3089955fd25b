--- Lookup tables: `mw.table(name, { file, key, format })`: the rows of a csv or ndjson file by one
--- of
--- their fields. The file is one of the flow's: a change to it is a reload, tested and swapped like
--- any.
local event = require "moonweir.event"
local options = require "moonweir.options"
local error, tostring, ipairs = error, tostring, ipairs

local M = {}

local OPTIONS = {
  { name = "file", type = "text", fallback = "!", doc = "a csv or ndjson file, beside the flow" },
  { name = "key", type = "text", fallback = "!", doc = "the field that rows are looked up by" },
  { name = "format", type = "text", choices = "csv|ndjson", doc = "what the file is in" },
}

--- What a table is: rows cannot be changed by the rules that share them.
local function closed(row)
  return setmetatable({}, {
    __index = row,
    __newindex = function()
      error("a row of a table cannot be changed: mw.decode(row) copies it", 2)
    end,
    __metatable = "row",
    plain = function()
      local copy = {}
      for k, v in next, row do
        copy[k] = v
      end
      return copy
    end,
  })
end

--- Adds `mw.table`. `host.read_file` and `host.rows` are C's.
function M.open(mw, kit, host)
  --- The rows of a file, as plain tables in their order.
  function kit.rows(what, file, format, level)
    format = format or (file:match "%.csv$" and "csv") or "ndjson"
    local text, why = host.read_file(file)
    if not text then error(what .. ": " .. tostring(why), level + 1) end
    local lines, fault = host.rows(text, format)
    if not lines then error(what .. ": " .. file .. ": " .. fault, level + 1) end
    local rows = {}
    for i, line in ipairs(lines) do
      local row, at = event.decode_text(line)
      if type(row) ~= "table" then
        local place = format == "csv" and i + 1 or i
        error(
          ("%s: %s:%d: not valid JSON, at byte %s"):format(what, file, place, tostring(at)),
          level + 1
        )
      end
      rows[i] = row
    end
    return rows, format == "csv" and 1 or 0
  end

  function mw.table(name, given)
    kit.name_of("table", name, 2)
    local what = "table '" .. name .. "'"
    local resolved = options.check(what, kit.table_of(what, given, 2), OPTIONS, 2)
    local rows, above = kit.rows(what, resolved.file, resolved.format, 2)
    local by_key, count = {}, 0
    for i, row in ipairs(rows) do
      local key = row[resolved.key]
      if key == nil then
        error(
          ("%s: %s:%d: there is no '%s'"):format(what, resolved.file, i + above, resolved.key),
          2
        )
      end
      if not by_key[key] then count = count + 1 end
      by_key[key] = closed(row)
    end
    local methods = {}
    --- The row of a key; nil when there is none. Of several the last.
    function methods.get(_, key)
      if key == nil then return nil end
      return by_key[key]
    end
    function methods.count() return count end
    return kit.handle_of("table", name, 0, methods)
  end

  --- A file's rows as plain tables, for modules that make something else of them; where a csv's
  --- first row is line 2, the second value is 1.
  function mw.rows(file, format) return kit.rows("rows", file, format, 2) end
end

return M
