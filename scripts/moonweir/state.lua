--- States: `mw.state(name, { ttl })`: keyed records that survive reload and restart.
---
--- A record is a table of named fields. It is read as a copy; changes are made by calls, and every
--- change begins the record's time to live anew.
local core = require "moonweir.core"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local C, ffi, R = core.C, core.ffi, core.view()
local type, error, tostring, pairs, next = type, error, tostring, pairs, next

local M = {}

--- What calls say that answer with a count, when the key lives on another shard.
local FAR = -1 - keep.ELSEWHERE

local function name_of(field, level)
  if type(field) ~= "string" then error("the name of a field is a string", level + 1) end
  return field
end

--- Adds `mw.state`.
function M.open(mw, kit)
  local new_cursor = ffi.typeof "mw_record_cursor"

  function mw.state(name, given)
    kit.name_of("state", name, 2)
    local what = "state '" .. name .. "'"
    local resolved = options.check(what, kit.table_of(what, given, 2), {
      {
        name = "ttl",
        type = "duration",
        fallback = "0s",
        doc = "how long a record lives after its last change; 0: until it is deleted",
      },
      {
        name = "memory",
        type = "size",
        fallback = "0B",
        doc = "memory of the records, on all shards; others are in the state folder alone; 0: any",
      },
    }, 2)
    local declared = kit.keep("state", name, { ttl = resolved.ttl }, 3)
    declared.memory = resolved.memory
    local index = declared.index

    --- How many parts the key has that C was told last.
    local parts = 1

    --- Gives C a key: one value, or a list of them.
    local function give(key)
      local n = 1
      if type(key) == "table" and key ~= encode.null then
        n = #key
        if n < 1 or n > 15 then error(what .. ": a key has 1 to 15 parts, not " .. n, 3) end
        for i = 1, n do
          keep.give(i - 1, key[i])
        end
      else
        keep.give(0, key)
      end
      if n ~= parts then
        parts = n
        C.mw_view_key_parts(R, index, n)
      end
    end

    local function check(status, level)
      if status > 0 then keep.fault(status, what, nil, level + 1) end
    end

    --- The fields of the record that C has just found.
    local function read(count)
      local record = {}
      for i = 0, count - 1 do
        C.mw_view_record_field(R, index, i)
        record[ffi.string(R.key.text, R.key.len)] = keep.taken(R.found)
      end
      return record
    end

    --- Nanoseconds of `{ ttl = … }`; nil where there is none.
    local function ttl_of(how)
      if not how or how.ttl == nil then return nil end
      local ns, expected = options.duration(how.ttl)
      if not ns then error(what .. ": 'ttl' must be " .. expected, 3) end
      return ns
    end

    local function live(key, ttl)
      if not ttl then return end
      give(key)
      local status = C.mw_view_record_live(R, index, ttl)
      if status == keep.ELSEWHERE then
        keep.far(index, keep.RECORD_LIVE, 1, nil, nil, ttl)
      else
        check(status, 3)
      end
    end

    local methods = {}

    function methods.get(_, key, field)
      give(key)
      if field ~= nil then
        name_of(field, 2)
        local status = C.mw_view_record_read(R, index, field, #field)
        if status == FAR then
          local _, answer = keep.far(index, keep.RECORD_READ, 1, field)
          return answer and answer[1][field]
        end
        if status < 0 then check(-1 - status, 2) end
        return (keep.taken(R.found))
      end
      local count = C.mw_view_record_get(R, index)
      if count == FAR then
        local _, answer = keep.far(index, keep.RECORD_GET, 1)
        return answer and answer[1]
      end
      if count < -1 then check(-1 - count, 2) end
      if count < 0 then return nil end
      return read(count)
    end

    function methods.set(_, key, record, how)
      if type(record) ~= "table" then
        error(what .. ": set wants a table of fields, not a " .. type(record), 2)
      end
      record = event.decode(record)
      for k in pairs(record) do
        name_of(k, 2)
      end
      local ttl = ttl_of(how)
      give(key)
      local status = C.mw_view_record_clear(R, index)
      if status == keep.ELSEWHERE then
        if next(record) then
          keep.give(parts, record)
        else
          keep.give(parts, nil)
        end
        keep.far(index, keep.RECORD_REPLACE, 1, nil, nil, ttl)
        return
      end
      check(status, 2)
      for k, v in pairs(record) do
        give(key)
        keep.give(parts, v)
        C.mw_view_record_set(R, index, k, #k)
      end
      live(key, ttl)
    end

    function methods.put(_, key, field, value, how)
      name_of(field, 2)
      local ttl = ttl_of(how)
      give(key)
      keep.give(parts, value)
      local status = C.mw_view_record_set(R, index, field, #field)
      if status == keep.ELSEWHERE then
        keep.far(index, keep.RECORD_SET, 1, field, nil, ttl)
        return
      end
      check(status, 2)
      live(key, ttl)
    end

    function methods.increment(_, key, field, by, how)
      name_of(field, 2)
      if by == nil then by = 1 end
      if type(by) ~= "number" then error("increment adds a number, not a " .. type(by), 2) end
      local ttl = ttl_of(how)
      give(key)
      local status = C.mw_view_record_increment(R, index, field, #field, by)
      if status == keep.ELSEWHERE then
        local added, answer = keep.far(index, keep.RECORD_INCREMENT, 1, field, by, ttl)
        if added == 0 then error(what .. ": the field '" .. field .. "' is no number", 2) end
        return answer[1]
      end
      if status ~= 0 then
        if status < 0 then error(what .. ": the field '" .. field .. "' is no number", 2) end
        check(status, 2)
      end
      local sum = R.key.number
      live(key, ttl)
      return sum
    end

    --- Whether the key lives on this shard: only then is reading and writing one step.
    function methods.is_here(_, key)
      give(key)
      local status = C.mw_view_record_read(R, index, "", 0)
      if status < 0 and status ~= FAR then check(-1 - status, 2) end
      return status ~= FAR
    end

    --- Raises an error where the key lives on another shard: what is read there may have changed
    --- before it is written.
    function methods.want_here(_, key)
      if not methods.is_here(nil, key) then keep.fault(keep.ELSEWHERE, what, nil, 2) end
    end

    --- Sets the field to `after` if it is `before` now. True: it was.
    function methods.compare_and_set(_, key, field, before, after, how)
      name_of(field, 2)
      local ttl = ttl_of(how)
      if not methods.is_here(nil, key) then
        keep.give(parts, before)
        keep.give(parts + 1, after)
        return keep.far(index, keep.RECORD_COMPARE, 1, field, nil, ttl) == 1
      end
      local now = methods.get(nil, key, field)
      if now ~= before then return false end
      methods.put(nil, key, field, after, how)
      return true
    end

    --- Appends to the list in a field, of which the last `most` stay.
    function methods.push(_, key, field, value, most)
      name_of(field, 2)
      if most ~= nil and (type(most) ~= "number" or most < 1) then
        error(what .. ": push keeps the last of a list, one at least, not " .. tostring(most), 2)
      end
      if not methods.is_here(nil, key) then
        keep.give(parts, value)
        local _, answer = keep.far(index, keep.RECORD_PUSH, 1, field, most)
        return answer[1]
      end
      local list = methods.get(nil, key, field)
      if type(list) ~= "table" then list = mw.array {} end
      list[#list + 1] = event.decode(value)
      while most and #list > most do
        table.remove(list, 1)
      end
      methods.put(nil, key, field, list)
      return list
    end

    function methods.delete(_, key)
      give(key)
      local status = C.mw_view_record_delete(R, index)
      if status == FAR then
        local deleted = keep.far(index, keep.RECORD_DELETE, 1)
        return deleted == 1
      end
      if status < 0 then check(-1 - status, 2) end
      return status == 1
    end

    function methods.live(_, key, ttl)
      if ttl == nil then error(what .. ": live wants a time to live after the key", 2) end
      live(key, ttl_of { ttl = ttl })
    end

    --- Goes through the records of this shard: `for key, record in state:each() do`. One that is
    --- not in memory stays where it is.
    function methods.each(_)
      local cursor = new_cursor()
      return function()
        if C.mw_view_record_next(R, index, cursor) == 0 then return nil end
        local key = keep.shown_key()
        return key, read(R.found.number)
      end
    end

    return kit.handle_of("state", name, index, methods)
  end
end

return M
