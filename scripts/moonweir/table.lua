--- Lookup tables: `mw.table(name, { file, key, format })`: the rows of a csv or ndjson file by one
--- of their fields. The file is one of the flow's: a change to it is a reload, tested and swapped
--- like any. `{ source, key }`: the latest row of each key that a source gave, kept like a state.
--- `{ url, prefix, cache, … }`: records in Redis, read only, cached as long as they do not change.
local event = require "moonweir.event"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local type, error, tostring, ipairs, pairs = type, error, tostring, ipairs, pairs

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

  --- What a source tells is a state, set by a rule of its own. Without `key` a row is looked up by
  --- the key of its message (Kafka); a message that has nothing but a key (a tombstone, of a
  --- compacted topic) removes its row.
  local function of_source(name, what, given)
    options.only(what, given, { "source", "key" }, 3)
    local key = given.key
    if key ~= nil and type(key) ~= "string" then
      error(what .. ": 'key' is the field that rows are looked up by", 3)
    end
    local rows = mw.state("table." .. name)
    local function message_key(e) return mw.meta(e).key end
    mw.rule("table." .. name, { from = given.source, by = key or message_key }, function(e)
      local of
      if key then of = keep.field(e, key) end
      if of ~= nil then return rows:set(of, event.decode(e)) end
      local meta = mw.meta(e)
      if meta.tombstone then
        rows:delete(meta.key)
        local number = tonumber(meta.key) -- rows have it as what their field is
        if key and number then rows:delete(number) end
      elseif key then
        error(what .. ": the row has no '" .. key .. "'", 0)
      elseif meta.key == nil then
        error(what .. ": the message has no key, and there is no 'key' to look rows up by", 0)
      else
        rows:set(meta.key, event.decode(e))
      end
    end)
    return kit.handle_of("table", name, 0, {
      get = function(_, of)
        if of == nil then return nil end
        return rows:get(of)
      end,
    })
  end

  --- What Redis has is a shared state that is only read.
  local function of_redis(name, given)
    local more = {}
    for k, v in pairs(given) do
      more[k] = v
    end
    more.cache = more.cache or "16MiB"
    local records = mw.shared(name, more)
    return kit.handle_of("table", name, 0, {
      get = function(_, of)
        if of == nil then return nil end
        return records:get(of)
      end,
    })
  end

  function mw.table(name, given)
    kit.name_of("table", name, 2)
    local what = "table '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    if given.source ~= nil then return of_source(name, what, given) end
    if given.url ~= nil then return of_redis(name, given) end
    local resolved = options.check(what, given, OPTIONS, 2)
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
