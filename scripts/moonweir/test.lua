--- Fixtures: what `mw.test("name", function(t) ... end)` is handed.
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local options = require "moonweir.options"
local budget = require "moonweir.budget"
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

--- A letter as the http sink would write it when its receiver refuses an event for good.
local function refuse(self, name, status, e)
  table.insert(self.letters, {
    stage = "sink",
    name = name,
    error = "the receiver refused it with status " .. status,
    event = e,
  })
end

--- What a sink was sent: kept, or answered as the fixture said it would be.
local function take(self, name, e)
  local answers = self.answers[name]
  local more = answers ~= nil and #answers > 1
  local status = not answers and 200 or more and table.remove(answers, 1) or answers[1]
  if status >= 500 or status == 408 or status == 429 then
    self.retries[name] = (self.retries[name] or 0) + 1
    if more then return take(self, name, e) end
    table.insert(self.waiting, { sink = name, event = e })
  elseif status >= 400 then
    refuse(self, name, status, e)
  else
    self.by_sink[name] = self.by_sink[name] or {}
    table.insert(self.by_sink[name], e)
  end
end

--- Gives a source an event: a table, or text in the source's own format.
---@param source mw.Source
---@param e table|string
---@param meta? table  what mw.meta should say besides: headers, path, key, …
function Test:push(source, e, meta)
  budget.check()
  local h = name_of(self, source, "source", 2)
  local raw = type(e) == "string"
  local members = meta and "," .. encode.encode_text(meta):sub(2, -2) or ""
  self:give(h.index - 1, raw and e or encode.encode_text(e), raw, members)
end

--- The router's own: what came of a text is taken.
function Test:give(index, text, raw, members, flush)
  local lines = self.host_push(index, text, raw, self.time, members, flush)
  for _, line in ipairs(lines) do
    if line.to == "sink" then
      take(self, line.name, (event.decode_text(line.text)))
    elseif line.to == "reply" then
      self.last_reply, self.last_status = event.decode_text(line.text), line.status
      table.insert(self.replies, self.last_reply)
    else
      table.insert(self.letters, (event.decode_text(line.text)))
    end
  end
end

--- Time passes without an event: what is due happens. Where the flow's sources have a time field,
--- event time comes with the events only, and the clock's time is what passes.
local function tick(self, flush)
  if self.clock then self:give(self.clock, "{}", false, "", flush) end
end

--- The time of the events that are pushed from now on: seconds since 1970.
function Test:at(seconds)
  if type(seconds) ~= "number" then error("t:at wants seconds since 1970", 2) end
  self.time = seconds
  tick(self)
end

--- All input has ended: windows that are open close.
function Test:finish() tick(self, true) end

--- Moves that time on: "10s", or seconds. It begins at 1700000000.
function Test:advance(duration)
  local ns, expected = options.duration(duration)
  if not ns then error("t:advance wants " .. expected, 2) end
  self.time = self.time + ns / 1e9
  tick(self)
end

--- Answers what a sink sends out from now on by a status, or by one after the other: 4xx refuses
--- (a dead letter), 5xx, 408 and 429 make it try again; the last one stays.
---@param sink mw.Sink
---@param status integer|integer[]
function Test:respond(sink, status)
  local name = name_of(self, sink, "sink", 2).name
  local list = {}
  for i, n in ipairs(type(status) == "table" and status or { status }) do
    if type(n) ~= "number" then error("t:respond wants a status, or a list of them", 2) end
    list[i] = n
  end
  self.answers[name] = list
end

--- How often a sink had to try again.
function Test:retried(sink) return self.retries[name_of(self, sink, "sink", 2).name] or 0 end

--- What a sink was sent so far: a list of plain tables.
function Test:sent(sink) return self.by_sink[name_of(self, sink, "sink", 2).name] or {} end

--- Lines that show what was expected (-) and what came (+).
local function diff(want, got)
  local lines, n = {}, math.max(#want, #got)
  for i = 1, n do
    local same = want[i] ~= nil and got[i] ~= nil and not difference(want[i], got[i], "")
    if same then
      lines[#lines + 1] = "    " .. describe(got[i])
    else
      if want[i] ~= nil then lines[#lines + 1] = "  - " .. describe(want[i]) end
      if got[i] ~= nil then lines[#lines + 1] = "  + " .. describe(got[i]) end
    end
    if #lines > 20 and i < n then
      lines[#lines + 1] = "    …"
      break
    end
  end
  return table.concat(lines, "\n")
end

--- For each wanted event one that came, whatever their order; or what is missing.
local function match_any(want, got)
  local taken = {}
  for _, w in ipairs(want) do
    local found
    for i, g in ipairs(got) do
      if not found and not taken[i] and not difference(w, g, "") then found = i end
    end
    if not found then return w end
    taken[found] = true
  end
end

--- A sink was sent so many events, or just these (each compared by the fields that are named), in
--- this order, or in any where `how.any_order` is true.
---@param sink mw.Sink
---@param want integer|table[]
---@param how? { any_order: boolean }
function Test:expect(sink, want, how)
  local name = name_of(self, sink, "sink", 2).name
  local got = self.by_sink[name] or setmetatable({}, encode.array_mark)
  self.expected[name] = true
  if type(want) == "number" then
    if #got == want then return end
    local list = encode.encode_text(event.decode(got))
    error(("sink '%s' was sent %d events, not %d: %s"):format(name, #got, want, list), 2)
  end
  local head = ("sink '%s' was sent %d events, not %d"):format(name, #got, #want)
  if #got == #want then
    if how and how.any_order then
      local missing = match_any(want, got)
      if not missing then return end
      head = ("sink '%s' was not sent %s"):format(name, describe(missing))
    else
      local i, found = 1, nil
      while i <= #want and not found do
        found = difference(want[i], got[i], "")
        i = i + 1
      end
      if not found then return end
      head = ("in event %d of sink '%s', %s"):format(i - 1, name, found)
    end
  end
  error(head .. "\n" .. diff(want, got), 2)
end

--- The last reply has these fields (and this status).
function Test:expect_reply(want, status)
  if self.last_reply == nil then error("nothing was replied", 2) end
  self.replies_expected = #self.replies
  local found = difference(want, self.last_reply, "")
  if found then
    error("in the reply, " .. found .. "\n" .. diff({ want }, { self.last_reply }), 2)
  end
  if status and status ~= self.last_status then
    error(("the reply's status is %d, not %d"):format(self.last_status, status), 2)
  end
end

--- So many events became dead letters; each error holds this text, where one is given.
---@param want integer
---@param text? string
function Test:expect_dead(want, text)
  self.letters_expected = #self.letters
  local first = self.letters[1] and tostring(self.letters[1].error)
  if #self.letters ~= want then
    error(
      ("%d events are dead letters, not %d%s"):format(
        #self.letters,
        want,
        first and ": " .. first or ""
      ),
      2
    )
  end
  for _, letter in ipairs(text and self.letters or {}) do
    if not tostring(letter.error):find(text, 1, true) then
      error(("the dead letter says %q, not %q"):format(tostring(letter.error), text), 2)
    end
  end
end

--- The dead letters so far: a list of plain tables.
function Test:dead() return self.letters end

--- Nothing happened that was not expected: no other sink was sent anything, nothing else was
--- replied or became a dead letter.
function Test:expect_nothing_else()
  for name, list in pairs(self.by_sink) do
    if #list > 0 and not self.expected[name] then
      error(
        ("sink '%s' was sent %d events that nobody expected\n%s"):format(
          name,
          #list,
          diff({}, list)
        ),
        2
      )
    end
  end
  if #self.replies > self.replies_expected then
    error("something was replied that nobody expected: " .. describe(self.last_reply), 2)
  end
  if #self.letters > self.letters_expected then
    local letter = self.letters[self.letters_expected + 1]
    error("there is a dead letter that nobody expected: " .. tostring(letter.error), 2)
  end
end

--- Seconds that one fixture may take, of processor time.
local FIXTURE_SECONDS = 5

--- Runs the fixture with a number, from 0. For C.
function M.run(index, host_push)
  local declared = runtime.declared()
  local test = declared.tests[index + 1]
  local t = setmetatable({
    handles = declared.handles,
    host_push = host_push,
    clock = #declared.keeps > 0 and #declared.sources - 1 or nil,
    time = 1700000000,
    by_sink = {},
    answers = {},
    retries = {},
    waiting = {},
    replies = {},
    letters = {},
    expected = {},
    replies_expected = 0,
    letters_expected = 0,
  }, Test)
  budget.begin("the test", FIXTURE_SECONDS)
  local ok, why = pcall(test.fn, t)
  return ok, test.name, not ok and tostring(why) or nil
end

return M
