--- Drivers: the loops that run a chain of rules over the rows of a run.
---
--- What can be observed is always the same: row by row, and for each row the rules in the order
--- they are declared. How it is compiled depends on the chain. A short one becomes one loop with
--- the rules called in line, which the JIT compiler turns into one trace. A long one is cut into
--- segments, each with a trace of its own, called from a loop that is not compiled: a trace that
--- holds too many branches would fall off the compiler's limits. Rules with a condition (`when`)
--- are found by an index once there are many of them.
---
--- Every rule is a protected call: what a failing rule sent is taken back and a dead letter takes
--- its place.
local core = require "moonweir.core"
local event = require "moonweir.event"
local budget = require "moonweir.budget"
local encode = require "moonweir.encode"
require "moonweir.park"
local C, R = core.C, core.view()

local M = {}

local IN_LINE = 12 -- rules in one trace
local INDEX_FROM = 4 -- rules with conditions: from this many on they are indexed
local DERIVED_MAX = 10000

local NO_MEMORY = "not enough memory" -- as LuaJIT says it
local TOO_MUCH_MEMORY = "the rule needs more memory than there may be "
  .. "(mw.flow { memory = ... } is the limit for the rules of a shard)"

--- A rule failed. The reason is text already, or becomes it.
local function fail(row, rule, mark, why)
  if type(why) ~= "string" then
    why = type(why) == "table" and getmetatable(why) == nil and "an error that is a table"
      or tostring(why)
  end
  if why == NO_MEMORY then
    collectgarbage() -- what the rule made is garbage now, and the next row must not pay for it
    why = TOO_MUCH_MEMORY
  end
  C.mw_view_fail(R, row, rule, mark, why, #why)
  R.counts[rule].failed = R.counts[rule].failed + 1
end

--- Source text that tests a condition on event `e`.
local function condition_text(when)
  local fields = {}
  for field in pairs(when) do
    fields[#fields + 1] = field
  end
  table.sort(fields)
  local tests = {}
  for i, field in ipairs(fields) do
    local read = "e"
    for part in field:gmatch "[^%.]+" do
      read = ("field(%s, %q)"):format(read, part)
    end
    local options = {}
    for j, v in ipairs(when[field]) do
      options[j] = ("v%d == %s"):format(i, type(v) == "string" and ("%q"):format(v) or tostring(v))
    end
    tests[i] = ("local v%d = %s if not (%s) then break end"):format(
      i,
      read,
      table.concat(options, " or ")
    )
  end
  return table.concat(tests, " ")
end

local function field(value, name)
  if type(value) ~= "table" then return nil end
  return value[name]
end

--- The text that runs one rule on `row`; rule k of the table `fns`, numbered numbers[k].
local function call_text(k, rule)
  local call = ([[
    %slocal mark = R.send_count
    local c = R.counts[%d]
    R.rule, R.overlaid, B[1], B[2], B[3] = %d, 0, FIRST, FIRST, 0
    c.events = c.events + 1
    local ok, why = pcall(f%d, %s)
    if not ok then fail(row, %d, mark, why)
    elseif R.send_count == mark then c.filtered = c.filtered + 1 end]]):format(
    rule.trial and ("R.tried[%d] = row\n"):format(rule.number) or "",
    rule.number,
    rule.number,
    k,
    rule.inline and "e" or "new(row, generation)",
    rule.number
  )
  if not rule.inline then return "do\n" .. call .. "\nend" end
  return "repeat local e = new(row, generation) "
    .. condition_text(rule.when)
    .. "\n"
    .. call
    .. "\nuntil true"
end

--- Drivers by their text: a flow that begins again has the same ones.
local made = {}

local function compile(text, rules, extra)
  local names, values = {}, {}
  for k, rule in ipairs(rules) do
    names[k] = "f" .. k
    values[k] = rule.fn
  end
  local head = "local R, pcall, new, fail, field, fns, extra, B = ...\nlocal FIRST = "
    .. budget.FIRST
    .. "\n"
  if #names > 0 then head = head .. "local " .. table.concat(names, ", ") .. " = unpack(fns)\n" end
  text = head .. text
  made[text] = made[text] or assert(loadstring(text, "=driver"))
  return made[text](R, pcall, event.new, fail, field, values, extra, budget.table)
end

local function calls_text(rules)
  local parts = {}
  for k, rule in ipairs(rules) do
    parts[k] = call_text(k, rule)
  end
  return table.concat(parts, "\n")
end

--- A segment of rules in line, as a function of a row.
local function chunk(rules)
  return compile(
    "return function(row)\nlocal generation = R.generation\n" .. calls_text(rules) .. "\nend",
    rules
  )
end

--- A segment of rules found by an index, as a function of a row. Each rule has a function, and so a
--- trace, of its own.
local function indexed(rules)
  local group = C.mw_view_when_add(R)
  local when = C.mw_view_when(R, group)
  local runners, hits = {}, {}
  for _, rule in ipairs(rules) do
    rule.inline = false
    runners[rule.number] = chunk { rule }
    for name, values in pairs(rule.when) do
      local path = core.ROOT
      for part in name:gmatch "[^%.]+" do
        path = event.learn(path, part) or core.NONE
      end
      if path == core.NONE then error("too many different fields in conditions") end
      for _, v in ipairs(values) do
        local kind = type(v) == "string" and core.STRING
          or type(v) == "number" and core.NUMBER
          or v and core.TRUE
          or core.FALSE
        local text = type(v) == "string" and v or ""
        C.mw_when_add(when, rule.number, path, kind, type(v) == "number" and v or 0, text, #text)
      end
    end
  end
  C.mw_when_build(when)
  local function match(row)
    local n = C.mw_view_match(R, group, row)
    for i = 1, n do
      hits[i] = R.matched[i - 1]
    end
    return n
  end
  local function run(row)
    local n = match(row)
    for i = 1, n do
      runners[hits[i]](row)
    end
  end
  jit.off(run)
  return run
end

--- Cuts a list of rules into segments.
local function segments(rules)
  local list, i = {}, 1
  while i <= #rules do
    local j = i
    if rules[i].when then
      while rules[j + 1] and rules[j + 1].when do
        j = j + 1
      end
      if j - i + 1 >= INDEX_FROM then
        list[#list + 1] = { index = true, first = i, last = j }
        i = j + 1
      end
    end
    if i <= j then
      local open = list[#list]
      for k = i, j do
        rules[k].inline = rules[k].when ~= nil
        if not open or open.index or open.last - open.first + 1 >= IN_LINE then
          open = { first = k, last = k }
          list[#list + 1] = open
        else
          open.last = k
        end
      end
      i = j + 1
    end
  end
  for k, s in ipairs(list) do
    s.rules = {}
    for n = s.first, s.last do
      s.rules[n - s.first + 1] = rules[n]
    end
    list[k] = s
  end
  return list
end

--- Rules of channels by channel number, as functions of a row; filled by `build`.
local channel_rows = {}

--- Runs the rules of the channels that a row's rules sent to, and of those that these sent to.
local function deliver(row, mark)
  local derived, line = 0, mark
  while R.pending > 0 and line < R.send_count do
    local to = R.sends[line].to
    if to >= core.TO_CHANNEL and to < core.TO_REPLY then
      R.pending = R.pending - 1
      derived = derived + 1
      if derived > DERIVED_MAX then
        R.sends[line].to = core.TO_NOBODY
        R.pending = 0
        local why = "more than "
          .. DERIVED_MAX
          .. " events came of one: do rules send to each other's channels in a circle?"
        C.mw_view_fail(R, row, R.rule, R.send_count, why, #why)
        return
      end
      local channel = to - core.TO_CHANNEL
      local new_row = C.mw_view_derive(R, line)
      if channel_rows[channel] and C.mw_view_route(R, new_row, channel) == 0 then
        R.row, R.values = new_row, R.slots + new_row * R.stride
        channel_rows[channel](new_row)
        R.row, R.values = row, R.slots + row * R.stride
      end
    end
    line = line + 1
  end
end
jit.off(deliver)

local function row_function(rules)
  local list = segments(rules)
  if #list == 1 and not list[1].index then return chunk(list[1].rules) end
  local functions = {}
  for i, s in ipairs(list) do
    functions[i] = s.index and indexed(s.rules) or chunk(s.rules)
  end
  local function run(row)
    for i = 1, #functions do
      functions[i](row)
    end
  end
  jit.off(run)
  return run
end

--- The text that settles what rules on trial did on `row`, or "": where nobody sent anything there
--- is nothing to compare.
local function settle_text(rules)
  local parts = {}
  for _, rule in ipairs(rules) do
    if rule.trial then
      parts[#parts + 1] = ([[
      if R.tried[%d] == row then
        R.tried[%d] = -1
        R.compared[%d] = R.compared[%d] + 1
      end]]):format(rule.number, rule.number, rule.number, rule.number)
    end
  end
  if #parts == 0 then return "" end
  return "\nif R.send_count == first then\n"
    .. table.concat(parts, "\n")
    .. "\nelse extra.settle(row, first) end"
end

local function settle(row, first) C.mw_view_settle(R, row, first) end

--- Whether a row waits for its key's turn.
local function blocked(row) return C.mw_view_defer(R, row) ~= 0 end

--- The same as a function; nil where there is nothing to settle.
local function settler(rules)
  local text = settle_text(rules)
  if text == "" then return nil end
  return compile("return function(row, first)" .. text .. "\nend", {}, { settle = settle })
end

--- What is due before a row, in a flow that keeps something.
local ADVANCE = "if R.events[row].mark >= R.due then extra.advance(row) end"
--- In a flow whose rules may wait: rows of keys that wait have to wait, too; and a row that goes on
--- ends with itself.
local BLOCKED = " and not (R.blocked ~= 0 and R.alone == 0 and extra.blocked(row))"
local BEGIN = "R.first, R.base = R.send_count, row"
local ALONE = "if R.alone ~= 0 then return end"

local LOOP = [[
  return function()
    local generation = R.generation
    for row = R.row, R.given - 1 do
      if R.events[row].dead == 0%s then
        R.row, R.values = row, R.slots + row * R.stride
        %s
        %s
        local first = R.send_count
        %s
        if R.pending > 0 then extra.deliver(row, first) end
      end
      %s
    end
  end]]

--- The same for a single row, without a loop: that of a request with one event would never be hot.
local ONCE = [[
  return function()
    local generation, row = R.generation, R.row
    if R.events[row].dead == 0%s then
      R.values = R.slots + row * R.stride
      %s
      %s
      local first = R.send_count
      %s
      if R.pending > 0 then extra.deliver(row, first) end
    end
  end]]

--- The drivers of a list of rules: over the rows of the current run from R.row on, and over R.row
--- alone.
---@param rules { fn: function, number: integer, when: table? }[]
---@param advance fun(row: integer)?  runs what is due before a row
---@param waits boolean                rules may wait for answers
---@return function many, function one
local function driver(rules, advance, waits)
  local list = segments(rules)
  local extra = { deliver = deliver, settle = settle, advance = advance, blocked = blocked }
  local advance_text = advance and ADVANCE or ""
  local blocked_text, begin_text, alone_text = "", "", ""
  if waits then
    blocked_text, begin_text, alone_text = BLOCKED, BEGIN, ALONE
  end
  if #list == 1 and not list[1].index then
    local calls = calls_text(list[1].rules) .. settle_text(rules)
    local loop = LOOP:format(blocked_text, begin_text, advance_text, calls, alone_text)
    local once = ONCE:format(blocked_text, begin_text, advance_text, calls)
    return compile(loop, list[1].rules, extra), compile(once, list[1].rules, extra)
  end
  -- the loop itself is not compiled, so what it does with the view is in functions that are
  local run = row_function(rules)
  local function begin(row)
    if R.events[row].dead ~= 0 then return nil end
    if waits and R.blocked ~= 0 and R.alone == 0 and blocked(row) then return nil end
    R.row, R.values = row, R.slots + row * R.stride
    R.first, R.base = R.send_count, row
    return R.send_count
  end
  local function is_alone() return R.alone ~= 0 end
  local function is_due(row) return R.events[row].mark >= R.due end
  local function bounds() return R.row, R.given - 1 end
  local function pending() return R.pending > 0 end
  local settle_row = settler(rules)
  local function many()
    local first, last = bounds()
    for row = first, last do
      local mark = begin(row)
      if mark and advance and is_due(row) then
        advance(row)
        mark = R.send_count
      end
      if mark then
        run(row)
        if settle_row then settle_row(row, mark) end
        if pending() then deliver(row, mark) end
      end
      if waits and is_alone() then return end
    end
  end
  jit.off(many)
  return many, many
end

--- A function that runs what is due before a row: windows that close, timers that fire, one after
--- the other. Nil where nothing ever is.
local function advancer(keeps)
  if #keeps == 0 then return nil end
  local B = budget.table
  --- The event of its dead letter is what it was called with.
  local function failed(row, rule, mark, what, why)
    local ok = pcall(encode.table, what)
    if ok then
      if R.send_count >= R.send_room then C.mw_view_grow(R) end
      local line = R.sends[R.send_count]
      line.text, line.len, line.row, line.to = C.mw_view_keep(R), R.out.len, row, core.TO_NOBODY
      row = C.mw_view_derive(R, R.send_count)
    end
    fail(row, rule, mark, why)
  end
  local run = {}
  for i, kept in ipairs(keeps) do
    local rule = kept.rule
    run[i] = rule
      and function(row)
        local mark, c, number = R.send_count, R.counts[rule.number], rule.number
        R.rule, R.overlaid, B[1], B[2], B[3] = number, 0, budget.FIRST, budget.FIRST, 0
        c.events = c.events + 1
        local what = rule.read()
        local ok, why = pcall(rule.fn, what)
        if not ok then
          failed(row, number, mark, what, why)
        elseif R.send_count == mark then
          c.filtered = c.filtered + 1
        end
        if R.pending > 0 then
          deliver(row, mark)
          R.row, R.values = row, R.slots + row * R.stride
        end
      end
  end
  return function(row)
    while true do
      local index = C.mw_view_next_due(R, row)
      if index < 0 then return end
      run[index + 1](row)
    end
  end
end

--- Makes the drivers of all chains.
---@param chains { rules: table[] }[][]  by chain (sources, then channels), then stage
---@param sources integer                how many of the chains are sources
---@param keeps table[]                  what the flow keeps by key
---@param waits boolean                  rules may wait for answers
---@return function[][] drivers by chain, then two a stage: for many rows and for one
function M.build(chains, sources, keeps, waits)
  local drivers, advance = {}, advancer(keeps)
  for i, stages in ipairs(chains) do
    drivers[i] = {}
    for j, stage in ipairs(stages) do
      drivers[i][2 * j - 1], drivers[i][2 * j] = driver(stage.rules, advance, waits)
    end
    if i > sources then
      local all = {}
      for _, stage in ipairs(stages) do
        for _, rule in ipairs(stage.rules) do
          all[#all + 1] = rule
        end
      end
      local run, settle_row = row_function(all), settler(all)
      channel_rows[i - sources - 1] = not settle_row and run
        or function(row)
          local first = R.send_count
          run(row)
          settle_row(row, first)
        end
    end
  end
  return drivers
end

return M
