--- Fixtures: what `mw.test("name", function(t) ... end)` is handed.
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local runtime = require "moonweir.runtime"

local M = {}

---@class mw.Test
local Test = {}
Test.__index = Test

local function describe(v)
  if type(v) == "table" then return encode.encode_text(v) end
  if type(v) == "string" then return ("%q"):format(v) end
  return tostring(v)
end

--- Everything that `want` names is the same in `got`; nil, or where it differs.
local function difference(want, got, path)
  if type(want) ~= "table" or want == encode.null then
    if want == got then return nil end
    return ("%s is %s, not %s"):format(
      path == "" and "it" or path:sub(2),
      describe(got),
      describe(want)
    )
  end
  if type(got) ~= "table" then
    return ("%s is %s, not a table"):format(path == "" and "it" or path:sub(2), describe(got))
  end
  for k, v in pairs(want) do
    local found = difference(v, got[k], path .. "." .. tostring(k))
    if found then return found end
  end
end

local function name_of(self, handle, sort, level)
  local h = self.handles[handle]
  if not h or h.sort ~= sort then error("this wants a " .. sort .. " of the flow", level + 1) end
  return h
end

--- Gives a source an event: a table, or text in the source's own format.
---@param source mw.Source
---@param e table|string
function Test:push(source, e)
  local h = name_of(self, source, "source", 2)
  local raw = type(e) == "string"
  local lines = self.host_push(h.index - 1, raw and e or encode.encode_text(e), raw)
  for _, line in ipairs(lines) do
    if line.to == "sink" then
      self.by_sink[line.name] = self.by_sink[line.name] or {}
      table.insert(self.by_sink[line.name], (event.decode_text(line.text)))
    elseif line.to == "reply" then
      self.last_reply, self.last_status = event.decode_text(line.text), line.status
      table.insert(self.replies, self.last_reply)
    else
      table.insert(self.letters, (event.decode_text(line.text)))
    end
  end
end

--- What a sink was sent so far: a list of plain tables.
function Test:sent(sink) return self.by_sink[name_of(self, sink, "sink", 2).name] or {} end

--- A sink was sent so many events, or just these (each compared by the fields that are named).
---@param sink mw.Sink
---@param want integer|table[]
function Test:expect(sink, want)
  local name = name_of(self, sink, "sink", 2).name
  local got = self.by_sink[name] or {}
  local count = type(want) == "number" and want or #want
  if #got ~= count then
    error(
      ("sink '%s' was sent %d events, not %d: %s"):format(
        name,
        #got,
        count,
        encode.encode_text(event.decode(got))
      ),
      2
    )
  end
  if type(want) == "number" then return end
  for i, w in ipairs(want) do
    local found = difference(w, got[i], "")
    if found then error(("in event %d of sink '%s', %s"):format(i, name, found), 2) end
  end
end

--- The last reply has these fields (and this status).
function Test:expect_reply(want, status)
  if self.last_reply == nil then error("nothing was replied", 2) end
  local found = difference(want, self.last_reply, "")
  if found then error("in the reply, " .. found, 2) end
  if status and status ~= self.last_status then
    error(("the reply's status is %d, not %d"):format(self.last_status, status), 2)
  end
end

--- So many events became dead letters.
function Test:expect_dead(want)
  if #self.letters ~= want then
    error(
      ("%d events are dead letters, not %d%s"):format(
        #self.letters,
        want,
        self.letters[1] and ": " .. tostring(self.letters[1].error) or ""
      ),
      2
    )
  end
end

--- The dead letters so far: a list of plain tables.
function Test:dead() return self.letters end

--- Runs the fixture with a number, from 0. For C.
function M.run(index, host_push)
  local declared = runtime.declared()
  local test = declared.tests[index + 1]
  local t = setmetatable(
    { handles = declared.handles, host_push = host_push, by_sink = {}, replies = {}, letters = {} },
    Test
  )
  local ok, why = pcall(test.fn, t)
  return ok, test.name, not ok and tostring(why) or nil
end

return M
