--- Streaming anomaly detectors: `mw.detector(name, { by, value, kind, … })`. What each has learned
--- of a key is kept as windows and states are: checkpointed, and kept by reloads that leave its
--- declaration as it is.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local park = require "moonweir.park"
local C, ffi, R = core.C, core.ffi, core.view()
local type, error, tostring, getmetatable, next = type, error, tostring, getmetatable, next
local Event = event.Event

ffi.cdef [[
typedef struct mw_detector mw_detector;
const char *mw_detector_kinds(void);
int mw_detector_has(const char *kind, const char *name);
int mw_view_detect(mw_view *v, uint32_t index, const mw_detector *d, uint32_t row, int given);
int mw_view_timer_overdue(mw_view *v, uint32_t index);
uint32_t mw_view_call_detector(mw_view *v, uint32_t index, const mw_detector *d, uint32_t row, int given);
]]

local M = {}

local NOT_NUMBER = 10
--- Seconds; who is silent for longer is not waited for.
local LONGEST = 1e8

local OPTIONS = {
  { name = "value", type = "text", fallback = "value", doc = "the field that is watched" },
  { name = "kind", type = "text", fallback = "auto", doc = "how it is judged" },
  {
    name = "time",
    type = "text",
    fallback = "event",
    choices = "event|clock",
    doc = "by which time on_silence is called",
  },
}

local function kinds()
  local list = {}
  for kind in ffi.string(C.mw_detector_kinds()):gmatch "[^|]+" do
    list[#list + 1] = kind
  end
  return list
end

--- Options of the kind: numbers, and lists of them.
local function settings_of(what, kind, given, level)
  local own = {}
  for name, value in next, given do
    local is_common = name == "by" or name == "value" or name == "kind"
    if not is_common and (name ~= "time" or kind ~= "silence") then
      if type(name) ~= "string" or C.mw_detector_has(kind, name) == 0 then
        local text = "%s: the kind '%s' has no option '%s'"
        error(text:format(what, kind, tostring(name)), level + 1)
      end
      if type(value) == "table" then
        local list = setmetatable({}, encode.array_mark)
        for i, item in ipairs(value) do
          list[i] = tostring(item)
        end
        own[name] = list
      elseif type(value) == "number" then
        own[name] = value
      else
        error(what .. ": '" .. name .. "' must be a number", level + 1)
      end
    end
  end
  return own
end

--- Adds `mw.detector`. `host.detector` is C's.
function M.open(mw, kit, host)
  function mw.detector(name, given)
    kit.name_of("detector", name, 2)
    local what = "detector '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    local resolved = options.check(
      what,
      { value = given.value, kind = given.kind, time = given.time },
      OPTIONS,
      2
    )
    local known = kinds()
    local kind, found = resolved.kind, false
    for _, k in ipairs(known) do
      found = found or k == kind
    end
    if not found then
      error(what .. ": there is no kind '" .. kind .. "'" .. options.suggest(kind, known), 2)
    end
    local by = given.by ~= nil and keep.by(what, given.by, "", 2) or {}
    local own = settings_of(what, kind, given, 2)
    local held, address, bytes = host.detector(kind, encode.encode_text(own))
    if not held then error(what .. ": " .. tostring(address), 2) end
    local detector = ffi.cast("const mw_detector *", address)
    local settings =
      { by = setmetatable(by, encode.array_mark), value = resolved.value, kind = kind }
    settings.bytes, settings.settings = bytes, own
    local declared = kit.keep("detector", name, settings, 3)
    local index, parts, value = declared.index, #by, resolved.value
    declared.held = held

    function declared.bind()
      C.mw_view_key_parts(R, index, parts > 0 and parts or 1)
      for i = 1, parts do
        C.mw_view_use(R, index, i - 1, keep.path(by[i], what))
      end
      if parts > 0 then C.mw_view_use(R, index, parts, keep.path(value, what)) end
    end

    --- The i-th part of a point's key. What has no field of that name but a key, as results of
    --- windows by the same key have, is of that key.
    local function part_of(of, i)
      local part = keep.field(of, by[i])
      if part == nil and parts == 1 then part = of.key end
      if part == nil and type(of.key) == "table" then part = of.key[i] end
      return part
    end

    --- Key and value of a table, a window's result, or an event that was changed.
    local function give(of)
      if type(of) ~= "table" then
        error(what .. ": a point is an event or a table, not a " .. type(of), 3)
      end
      for i = 1, parts do
        keep.give(i - 1, part_of(of, i))
      end
      if parts == 0 then keep.give(0, "all") end
      keep.give(parts > 0 and parts or 1, keep.field(of, value))
    end

    local methods = {}

    local silent, tell -- index of the timers of who is waited for, and who is told

    --- Tells of a silence that this point ends, where time has not come so far yet: on several
    --- shards it moves at cuts.
    local function tell_late(of)
      give(of)
      if C.mw_view_timer_overdue(R, silent) == 0 then return end
      local at, patience, key = R.key.number, R.found.number, {}
      for i = 1, parts do
        key[i] = part_of(of, i)
      end
      if parts < 2 then key = key[1] end
      tell { key = key, last = at - patience, patience = patience }
    end

    --- Waits for the next point of the same key, for so many seconds.
    local function wait_for(of, patience)
      if not silent or type(patience) ~= "number" or patience ~= patience then return end
      if patience > LONGEST then return end
      give(of)
      keep.give(parts > 0 and parts or 1, patience)
      local ns = patience * 1e9
      local status = C.mw_view_timer_set(R, silent, ns, 0)
      if status == keep.ELSEWHERE then
        keep.far(silent, keep.TIMER_AFTER, 1, nil, ns)
      elseif status ~= 0 then keep.fault(status, what, by, 3) end
    end

    --- How unlike what came before it of the same key a point is: `{ anomaly = }`, from 0 to 1; for
    --- the default kind 0.5 is an alarm. The point is then learned from.
    function methods.score(_, of)
      local given_ = 0
      if tell and resolved.time == "event" then tell_late(of) end
      if parts == 0 or R.overlaid ~= 0 or getmetatable(of) ~= Event then
        give(of)
        given_ = 1
      end
      local status = C.mw_view_detect(R, index, detector, R.row, given_)
      if status == keep.ELSEWHERE then
        park.check()
        park.await(C.mw_view_call_detector(R, index, detector, R.row, given_))
        local text = R.reply[1]
        local answer = event.decode_text(ffi.string(text.text, text.len))
        if type(answer[1]) == "number" then
          wait_for(of, answer[2])
          return { anomaly = answer[1] }
        end
        status = NOT_NUMBER
      end
      if status == NOT_NUMBER then error(what .. ": '" .. value .. "' is no number", 2) end
      if status ~= 0 then keep.fault(status, what, by, 2) end
      local anomaly = R.key.number
      wait_for(of, R.found.number)
      return { anomaly = anomaly }
    end

    --- Calls `fn` when a key has been silent for longer than it should be, once until its next
    --- point: with `{ key =, last =, patience = }`, when its last point was (seconds since 1970)
    --- and for how long it was waited for (seconds). Of kind "silence".
    function methods.on_silence(_, fn)
      if type(fn) ~= "function" then error("on_silence wants a function", 2) end
      if kind ~= "silence" then error(what .. ": on_silence is of the kind 'silence'", 2) end
      if silent then error(what .. " has an on_silence already", 2) end
      kit.name_of("timer", name .. ".silence", 2)
      local timers =
        kit.keep("timer", name .. ".silence", { by_clock = resolved.time == "clock" }, 3)
      silent, tell = timers.index, fn
      function timers.bind() C.mw_view_key_parts(R, silent, parts > 0 and parts or 1) end
      kit.handler(timers, name .. ".on_silence", fn, function()
        local key = keep.shown_key()
        local patience = keep.taken(R.found)
        return { key = parts > 0 and key or nil, last = R.now - patience, patience = patience }
      end, 2)
    end

    return kit.handle_of("detector", name, index, methods)
  end
end

return M
