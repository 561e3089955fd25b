--- `mw`: what a flow declares with. Every declaration is checked where it is made and kept in a
--- list; the lists become the graph that C reads, and the drivers that it runs.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local options = require "moonweir.options"
local rules = require "moonweir.rules"
local budget = require "moonweir.budget"
local aggregates = require "moonweir.aggregates"
local window = require "moonweir.window"
local state = require "moonweir.state"
local timer = require "moonweir.timer"
local park = require "moonweir.park"
local shared = require "moonweir.shared"
local every = require "moonweir.common"
local outside = require "moonweir.outside"
local SOURCE_OPTIONS, SINK_OPTIONS = every.SOURCE_OPTIONS, every.SINK_OPTIONS
local tables = require "moonweir.table"
local model = require "moonweir.model"
local detector = require "moonweir.detector"
local audit = require "moonweir.audit"
local sequence = require "moonweir.sequence"
local join = require "moonweir.join"
local C, ffi, R = core.C, core.ffi, core.view()
local setmetatable, getmetatable, type, error, tostring, tonumber =
  setmetatable, getmetatable, type, error, tostring, tonumber
local Event = event.Event

local M = {}

--- A fresh set of declarations.
---@param kinds table  of C: { sources = {...}, sinks = {...}, formats = {...} }, with options
---@param env table<string, string>
---@param host { read_file: function, rows: function }  how tables are read
---@return table mw, table declared
function M.new(kinds, env, host)
  local d = {
    flow = { name = nil, delivery = "at-least-once" },
    sources = {},
    sinks = {},
    rules = {},
    channels = {},
    tests = {},
    captures = {},
    keeps = {},
    stores = {},
    models = {},
    audits = {},
    dead = nil,
  }
  local names =
    { sink = { ["dead-letters"] = "the router" }, source = { ["router-clock"] = "the router" } }
  local mw = {}

  local function where(level)
    local info = debug.getinfo(level + 1, "Sl")
    return info and (info.short_src .. ":" .. info.currentline) or "?"
  end

  --- Names are unique among declarations of one sort.
  local function name_of(sort, name, level)
    if type(name) ~= "string" or not name:match "^[%w][%w_%-%.]*$" then
      error(
        "a "
          .. sort
          .. "'s name is made of letters, digits, '-', '_' and '.', not "
          .. tostring(name),
        level + 1
      )
    end
    names[sort] = names[sort] or {}
    if names[sort][name] then
      error(
        "there is a "
          .. sort
          .. " '"
          .. name
          .. "' already (declared at "
          .. names[sort][name]
          .. ")",
        level + 1
      )
    end
    names[sort][name] = where(level + 1)
    return name
  end

  local function table_of(what, given, level)
    if given == nil then return {} end
    if type(given) ~= "table" then
      error(what .. ": options are a table, not " .. type(given), level + 1)
    end
    return given
  end

  local function check_options(what, given, kind, common, level)
    local known = {}
    for _, o in ipairs(kind.options) do
      known[#known + 1] = o
    end
    for _, o in ipairs(common) do
      known[#known + 1] = o
    end
    local resolved = options.check(what, table_of(what, given, level + 1), known, level + 1)
    resolved.format = resolved.format or kind.format or "ndjson"
    local formats = {}
    for i, f in ipairs(kinds.formats) do
      formats[i] = f
      formats[f] = true
    end
    if not formats[resolved.format] then
      error(
        what
          .. ": there is no format '"
          .. resolved.format
          .. "'"
          .. options.suggest(resolved.format, formats),
        level + 1
      )
    end
    return resolved
  end

  -- sending

  --- The next line of the journal; it counts once `commit` is called.
  local function line_for(to, options_table)
    if R.generation == 0 or R.given == 0 then
      error("events are sent by rules, not while the flow is declared", 3)
    end
    if R.send_count >= R.send_room then C.mw_view_grow(R) end
    local line = R.sends[R.send_count]
    line.text, line.options, line.len, line.options_len = nil, nil, 0, 0
    line.to, line.rule, line.row, line.http_status = to, R.rule, R.row, 0
    if options_table ~= nil then
      if type(options_table) ~= "table" then
        error("the third argument of send is a table of what the sink knows", 3)
      end
      encode.encode(options_table)
      line.options_len = R.out.len
      line.options = C.mw_view_keep(R)
    end
    return line
  end

  local function send_slow(to, e, fields, options_table)
    if type(e) ~= "table" then error("send wants an event or a table, not a " .. type(e), 3) end
    line_for(to, options_table)
    if fields ~= nil and type(fields) ~= "table" then
      error("the fields that send adds are a table, not a " .. type(fields), 3)
    end
    if getmetatable(e) == Event then
      local text = ffi.new "mw_send"
      event.render(e, fields, text)
      local line = R.sends[R.send_count]
      line.row = event.row_of(e)
      line.text, line.len = text.text, text.len
    else
      if fields ~= nil then
        local all = {}
        for k, v in pairs(event.decode(e)) do
          all[k] = v
        end
        for k, v in pairs(fields) do
          all[k] = v
        end
        e = all
      end
      encode.table(e)
      local line = R.sends[R.send_count]
      line.len = R.out.len
      line.text = C.mw_view_keep(R)
    end
    R.send_count = R.send_count + 1
  end

  local function send(to, e, fields, options_table)
    if
      fields == nil
      and options_table == nil
      and getmetatable(e) == Event
      and R.overlaid == 0
      and e[true] == R.row
      and e[false] == R.generation
    then
      local n = R.send_count
      if n < R.send_room then
        local line = R.sends[n]
        line.text, line.options = nil, nil
        line.to, line.rule, line.row = to, R.rule, e[true]
        R.send_count = n + 1
        return
      end
    end
    send_slow(to, e, fields, options_table)
  end

  --- What a flow holds of a declaration: an empty table that cannot be written to, so that nothing
  --- a rule does to it changes whom it speaks of. `methods` know that themselves.
  local function handle_of(sort, name, index, methods)
    local handle = setmetatable({}, {
      __index = methods,
      __newindex = function() error("a " .. sort .. " has no fields to set", 2) end,
      __metatable = sort,
      __tostring = function() return sort .. " '" .. name .. "'" end,
    })
    d.handles[handle] = { sort = sort, index = index, name = name, methods = methods }
    return handle
  end

  local function sender(to)
    return { send = function(_, e, fields, opts) send(to, e, fields, opts) end }
  end

  -- sources and sinks

  local function declare_kind(sort, list, kinds_of, common)
    local kind_names, by_name = {}, {}
    for i, kind in ipairs(kinds_of) do
      kind_names[i] = kind.name
      by_name[kind.name] = kind
    end
    return setmetatable({}, {
      __index = function(_, kind_name)
        local kind = by_name[kind_name]
        if not kind then
          error(
            "there is no "
              .. sort
              .. " kind '"
              .. tostring(kind_name)
              .. "'"
              .. options.suggest(tostring(kind_name), kind_names),
            2
          )
        end
        return function(name, given)
          name_of(sort, name, 2)
          local what = sort .. " '" .. name .. "'"
          local resolved = check_options(what, given, kind, common, 2)
          if sort == "source" then every.check_buffer(what, kind_name, resolved, 2) end
          list[#list + 1] = { name = name, kind = kind_name, options = resolved, where = where(2) }
          return handle_of(sort, name, #list, sort == "sink" and sender(#list) or {})
        end
      end,
      __newindex = function() error("a kind of " .. sort .. " is not made in a flow", 2) end,
      __metatable = sort,
    })
  end

  d.handles = setmetatable({}, { __mode = "k" })
  mw.source = declare_kind("source", d.sources, kinds.sources, SOURCE_OPTIONS)
  mw.sink = declare_kind("sink", d.sinks, kinds.sinks, SINK_OPTIONS)

  function mw.channel(name)
    name_of("channel", name, 2)
    local to = core.TO_CHANNEL + #d.channels
    d.channels[#d.channels + 1] = { name = name, where = where(2) }
    return handle_of("channel", name, #d.channels, {
      send = function(_, e, fields, opts)
        send(to, e, fields, opts)
        R.pending = R.pending + 1
      end,
    })
  end

  function mw.flow(given)
    local resolved = options.check("flow", table_of("flow", given, 2), {
      { name = "name", type = "text", doc = "what logs and metrics call the flow" },
      {
        name = "delivery",
        type = "text",
        fallback = "at-least-once",
        choices = "at-least-once|exactly-once",
        doc = "the guarantee",
      },
      {
        name = "memory",
        type = "size",
        fallback = "64MiB",
        doc = "what the rules of one shard may have",
      },
      { name = "timeout", type = "duration", fallback = "100ms", doc = "how long a rule may run" },
      {
        name = "checkpoint",
        type = "duration",
        fallback = "1s",
        doc = "how often what is kept by key is saved",
      },
      { name = "probation", type = "duration", doc = "how long a new version is watched" },
      {
        name = "rollback",
        type = "table",
        doc = "what a new version may not do while it is watched",
        inside = {
          {
            name = "errors",
            type = "number",
            fallback = "0.01",
            doc = "share of failed events, more than before",
          },
          {
            name = "time",
            type = "number",
            fallback = "3",
            doc = "time of rules for an event, times that of before",
          },
          {
            name = "events",
            type = "count",
            fallback = "100",
            doc = "how many events are waited for",
          },
        },
      },
    }, 2)
    core.set_memory(resolved.memory)
    budget.default = resolved.timeout / 1e9
    d.flow = resolved
  end

  function mw.dead_letters(given)
    if d.dead then
      error("the flow has dead letters already (declared at " .. d.dead.where .. ")", 2)
    end
    local kind
    for _, k in ipairs(kinds.sinks) do
      if k.name == "file" then kind = k end
    end
    d.dead =
      { options = check_options("dead letters", given, kind, SINK_OPTIONS, 2), where = where(2) }
  end

  -- rules

  function mw.rule(name, given, fn)
    name_of("rule", name, 2)
    local rule = rules.read(name, table_of("rule '" .. name .. "'", given, 2), fn, d, 2)
    rule.number, rule.where = #d.rules, where(2)
    d.rules[#d.rules + 1] = rule
  end

  function mw.capture(name, given)
    name_of("sink", name, 2) -- a capture is one, inside
    local what = "capture '" .. name .. "'"
    given = table_of(what, given, 2)
    local from, rest = rules.from(what, given.from, d, { source = true }, 2), {}
    for k, v in pairs(given) do
      if k ~= "from" then rest[k] = v end
    end
    local resolved = options.check(what, rest, kinds.capture, 2)
    resolved.format = "ndjson"
    local sources = {}
    for i, h in ipairs(from) do
      sources[i] = h.index - 1
    end
    d.captures[#d.captures + 1] =
      { name = name, options = resolved, where = where(2), sources = sources }
  end

  function mw.test(name, fn)
    if type(name) ~= "string" or type(fn) ~= "function" then
      error("mw.test wants a name and a function", 2)
    end
    d.tests[#d.tests + 1] = { name = name, fn = fn, where = where(2) }
  end

  -- in rules

  mw.null = encode.null

  --- Marks a list, so that an empty one is written [].
  function mw.array(t)
    if getmetatable(t) == "array" then return t end
    return setmetatable(t or {}, encode.array_mark)
  end

  mw.decode = event.decode
  mw.all = park.all

  --- Number of elements of a list, or of fields of an object, in an event.
  function mw.length(t)
    if event.is_view(t) then
      local n = 0
      for _ in pairs(event.decode(t)) do
        n = n + 1
      end
      return n
    end
    return #t
  end

  --- Seconds since 1970 of the event that is worked on, or of what is due.
  function mw.now()
    local now = R.now
    if now ~= 0 then return now end
    return tonumber(R.events[R.row].time) / 1e9
  end

  --- A number from 0 to 1 that is always the same for a key, and even over many of them.
  function mw.share(key)
    local text = tostring(key)
    return tonumber(C.mw_key_of_text(text, #text)) / 2 ^ 64
  end

  --- Seconds of a duration such as "24h".
  function mw.duration(text)
    local ns, expected = options.duration(text)
    if not ns then error("mw.duration wants " .. expected, 2) end
    return ns / 1e9
  end

  -- what is kept by key

  local kit = { name_of = name_of, table_of = table_of, handle_of = handle_of }
  function kit.where(level)
    local at = where(level + 1)
    return at
  end

  --- Notes a declaration that keeps something. A reload keeps it while its `settings` are the same.
  function kit.keep(sort, name, settings, level)
    local declared = {
      name = name,
      sort = sort,
      options = settings,
      index = #d.keeps,
      where = where(level),
    }
    d.keeps[#d.keeps + 1] = declared
    return declared
  end

  --- A function that is called when something of `declared` is due, with what `read` gives; for
  --- metrics and dead letters it is a rule.
  function kit.handler(declared, name, fn, read, level)
    name_of("rule", name, level + 1)
    local rule =
      { name = name, from = {}, fn = fn, number = #d.rules, where = where(level + 1), read = read }
    d.rules[#d.rules + 1] = rule
    declared.rule = rule
  end

  aggregates.open(mw)
  window.open(mw, d, kit)
  state.open(mw, kit)
  timer.open(mw, kit)
  shared.open(mw, d, kit)
  tables.open(mw, kit, host)
  model.open(mw, d, kit, host)
  detector.open(mw, kit, host)
  audit.open(mw, d, kit)
  sequence.open(mw, kit)
  join.open(mw, kit)

  function mw.reply(e, body, status)
    if getmetatable(e) ~= Event then
      error("mw.reply wants the event to answer, not a " .. type(e), 2)
    end
    if status ~= nil and (type(status) ~= "number" or status < 100 or status > 599) then
      error("mw.reply: the status is a number from 100 to 599, not " .. tostring(status), 2)
    end
    local row = event.row_of(e)
    if type(body) == "table" then
      encode.table(body)
    else
      encode.encode(body)
    end
    local line = line_for(core.TO_REPLY)
    line.row, line.len, line.http_status = row, R.out.len, status or 200
    line.text = C.mw_view_keep_plain(R)
    R.send_count = R.send_count + 1
  end

  function mw.meta(e)
    if getmetatable(e) ~= Event then error("mw.meta wants an event, not a " .. type(e), 2) end
    C.mw_view_meta(R, event.row_of(e))
    return (event.decode_text(ffi.string(R.out.bytes, R.out.len)))
  end

  outside.open(mw, env, host)
  mw.version = M.version

  local sorts = {
    "source",
    "sink",
    "channel",
    "rule",
    "flow",
    "test",
    "env",
    "log",
    "null",
    "array",
    "now",
    "duration",
    "share",
    "rows",
    "digest",
    "reply",
    "meta",
    "decode",
    "length",
    "dead_letters",
    "capture",
    "version",
    "window",
    "state",
    "timer",
    "every",
    "all",
    "shared",
    "table",
    "model",
    "detector",
    "audit",
    "sequence",
    "join",
    "count",
    "rate",
    "sum",
    "min",
    "max",
    "mean",
    "variance",
    "ewma",
    "distinct",
    "quantile",
    "first",
    "last",
    "top",
    "histogram",
    "collect",
    "seen",
  }
  setmetatable(mw, {
    __index = function(_, k)
      error("there is no mw." .. tostring(k) .. options.suggest(tostring(k), sorts), 2)
    end,
  })
  local closed = setmetatable({}, {
    __index = mw,
    __newindex = function(_, k) error("mw." .. tostring(k) .. " cannot be set", 2) end,
    __metatable = "moonweir",
  })
  return closed, d
end

ffi.cdef [[
void mw_view_meta(mw_view *v, uint32_t row);
]]

return M
