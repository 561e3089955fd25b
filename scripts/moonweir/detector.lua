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
uint32_t mw_view_call_detector(mw_view *v, uint32_t index, const mw_detector *d, uint32_t row, int given);
]]

local M = {}

local NOT_NUMBER = 10

local OPTIONS = {
  { name = "value", type = "text", fallback = "value", doc = "the field that is watched" },
  { name = "kind", type = "text", fallback = "auto", doc = "how it is judged" },
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
    if name ~= "by" and name ~= "value" and name ~= "kind" then
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
    local resolved = options.check(what, { value = given.value, kind = given.kind }, OPTIONS, 2)
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

    --- Key and value of a table, a window's result, or an event that was changed. What has no field
    --- of the key's name but a key, as results of windows by the same key have, is of that key.
    local function give(of)
      if type(of) ~= "table" then
        error(what .. ": a point is an event or a table, not a " .. type(of), 3)
      end
      for i = 1, parts do
        local part = keep.field(of, by[i])
        if part == nil and parts == 1 then part = of.key end
        if part == nil and type(of.key) == "table" then part = of.key[i] end
        keep.give(i - 1, part)
      end
      if parts == 0 then keep.give(0, "all") end
      keep.give(parts > 0 and parts or 1, keep.field(of, value))
    end

    local methods = {}

    --- How unlike what came before it of the same key a point is: `{ anomaly = }`, from 0 to 1; for
    --- the default kind 0.5 is an alarm. The point is then learned from.
    function methods.score(_, of)
      local given_ = 0
      if parts == 0 or R.overlaid ~= 0 or getmetatable(of) ~= Event then
        give(of)
        given_ = 1
      end
      local status = C.mw_view_detect(R, index, detector, R.row, given_)
      if status == keep.ELSEWHERE then
        park.check()
        park.await(C.mw_view_call_detector(R, index, detector, R.row, given_))
        local text = R.reply[1]
        local anomaly = event.decode_text(ffi.string(text.text, text.len))[1]
        if type(anomaly) ~= "number" then status = NOT_NUMBER else return { anomaly = anomaly } end
      end
      if status == NOT_NUMBER then error(what .. ": '" .. value .. "' is no number", 2) end
      if status ~= 0 then keep.fault(status, what, by, 2) end
      return { anomaly = R.key.number }
    end

    return kit.handle_of("detector", name, index, methods)
  end
end

return M
