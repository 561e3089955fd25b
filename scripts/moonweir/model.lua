--- Trained models: `mw.model(name, { file, kind, features, iterations, challenger })`. The file is
--- one of the flow's: a change to it is a reload, loaded aside, checked against the rows that ship
--- with it (`NAME.golden.ndjson` beside it), tested and swapped like any.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local options = require "moonweir.options"
local keep = require "moonweir.keep"
local C, ffi, R = core.C, core.ffi, core.view()
local type, error, tostring, getmetatable, next = type, error, tostring, getmetatable, next
local Event = event.Event

ffi.cdef [[
typedef struct mw_model mw_model;
uint32_t mw_model_features(const mw_model *m);
const char *mw_model_feature(const mw_model *m, uint32_t n);
uint32_t mw_model_scores(const mw_model *m);
uint32_t mw_model_margins(const mw_model *m);
uint64_t mw_model_version(const mw_model *m);
void mw_view_model(mw_view *v, uint32_t index, const mw_model *model, int whole);
typedef struct mw_drift mw_drift;
void mw_view_model_drift(mw_view *v, uint32_t index, const mw_drift *drift);
void mw_view_model_path(mw_view *v, uint32_t index, uint32_t feature, int32_t path);
int mw_view_model_read(mw_view *v, uint32_t index, uint32_t row);
void mw_view_model_blank(mw_view *v, uint32_t index);
void mw_view_model_number(mw_view *v, uint32_t index, uint32_t feature, double number);
int mw_view_model_text(mw_view *v, uint32_t index, uint32_t feature, const char *text, size_t len);
double mw_view_model_score(mw_view *v, uint32_t index);
int mw_view_score(mw_view *v, uint32_t index, uint32_t row);
void mw_view_model_challenge(mw_view *v, uint32_t index, uint32_t number, int how, uint32_t row);
int mw_view_model_explain(mw_view *v, uint32_t index, int exact);
]]

local M = {}

local NAN = 0 / 0

--- Models of more features than this are read off the event's text in one pass: MW_MODEL_PATHS.
local MOST_PATHS = 256

local OPTIONS = {
  { name = "file", type = "text", fallback = "!", doc = "the model's file, beside the flow" },
  { name = "kind", type = "text", doc = "what trained it, where the file does not tell" },
  { name = "challenger", type = "text", doc = "another model's file, to compare" },
}

--- How a challenger has its features, as in core/lua/model.h.
local FAILED, ROW, READ = 0, 1, 2

--- "A:B": iterations from A on, without B.
local function iterations_of(what, given, level)
  if given == nil then return 0, 0 end
  local from, to
  if type(given) == "table" then
    from, to = given[1], given[2]
  end
  local whole = type(from) == "number" and type(to) == "number" and from % 1 == 0 and to % 1 == 0
  if not whole or from < 0 or to <= from then
    error(what .. ": 'iterations' is { FROM, TO }, counted from 0, without TO", level + 1)
  end
  return from, to - from
end

--- The fields of its features: their names, or what `features` maps them to.
local function fields_of(what, names, given, level)
  local known, fields = {}, {}
  for i = 1, #names do
    known[names[i]], fields[i] = i, names[i]
  end
  if given == nil then return known, fields end
  if type(given) ~= "table" then
    error(what .. ": 'features' maps the model's features to fields", level + 1)
  end
  for feature, field in next, given do
    if not known[feature] then
      local hint = options.suggest(tostring(feature), names)
      error(what .. ": the model has no feature '" .. tostring(feature) .. "'" .. hint, level + 1)
    end
    if type(field) ~= "string" or field == "" then
      error(what .. ": in 'features', a field is named by a string", level + 1)
    end
    fields[known[feature]] = field
  end
  return known, fields
end

--- Names under which other names are.
local function parents_of(names)
  local holds = {}
  for _, feature in ipairs(names) do
    for at in feature:gmatch "()%." do
      holds[feature:sub(1, at - 1)] = true
    end
  end
  return holds
end

--- A model of a file as scorer `index`: its features, and how they are read. `loose`: features that
--- it does not have are passed over when they are given.
local function reader_of(what, model, index, features, loose, level)
  local names = {}
  for i = 1, C.mw_model_features(model) do
    names[i] = ffi.string(C.mw_model_feature(model, i - 1))
  end
  local mapped = features
  if loose and type(features) == "table" then
    mapped = {}
    for _, name in ipairs(names) do
      mapped[name] = features[name]
    end
  end
  local known, fields = fields_of(what, names, mapped, level + 1)
  local holds, whole = parents_of(names), #names > MOST_PATHS and features == nil
  local reader = { names = names }

  --- On a shard, before its rules run.
  function reader.bind()
    C.mw_view_model(R, index, model, whole and 1 or 0)
    if whole then return end
    for i = 1, #fields do
      C.mw_view_model_path(R, index, i - 1, keep.path(fields[i], what))
    end
  end

  function reader.refuse(at) error(what .. ": " .. ffi.string(R.out.bytes, R.out.len), at + 1) end

  local function give(feature, value, at)
    local i, kind = known[feature], type(value)
    if not i then
      if loose then return end
      local hint = options.suggest(tostring(feature), names)
      error(what .. ": the model has no feature '" .. tostring(feature) .. "'" .. hint, at + 1)
    end
    if kind == "number" then
      C.mw_view_model_number(R, index, i - 1, value)
    elseif kind == "boolean" then
      C.mw_view_model_number(R, index, i - 1, value and 1 or 0)
    elseif kind == "string" then
      if C.mw_view_model_text(R, index, i - 1, value, #value) == 0 then reader.refuse(at + 1) end
    elseif value == nil or value == encode.null then
      C.mw_view_model_number(R, index, i - 1, NAN)
    elseif kind == "cdata" then
      C.mw_view_model_number(R, index, i - 1, tonumber(value))
    elseif not holds[feature] then
      error(what .. ": the feature '" .. feature .. "' is a " .. kind, at + 1)
    end
  end

  --- What is no event as it came: a table, or an event that the rule has changed.
  local function read_slowly(of)
    if whole then of = event.decode(of) end
    C.mw_view_model_blank(R, index)
    for i = 1, #fields do
      local value = of[fields[i]]
      if value == nil then value = keep.field(of, fields[i]) end
      if value ~= nil then give(names[i], value, 5) end
    end
  end

  --- Reads an event or a table, and what is added to it.
  function reader.read(of, extra)
    if getmetatable(of) == Event and R.overlaid == 0 then
      if C.mw_view_model_read(R, index, event.row_of(of)) == 0 then reader.refuse(3) end
    elseif type(of) == "table" then
      read_slowly(of)
    else
      error(what .. ": a row is an event or a table, not a " .. type(of), 3)
    end
    if extra == nil then return end
    if type(extra) ~= "table" then
      error(what .. ": what is added to a row is a table, not a " .. type(extra), 3)
    end
    local a, av, b, bv, c, cv = encode.few(extra)
    if a ~= nil then
      give(a, av, 3)
      if b ~= nil then give(b, bv, 3) end
      if c ~= nil then give(c, cv, 3) end
      return
    end
    for feature, value in next, extra do
      give(feature, value, 3)
    end
  end
  return reader
end

local function version_of(model) return (bit.tohex(C.mw_model_version(model))) end

--- Adds `mw.model`. `host.model` is C's.
function M.open(mw, d, kit, host)
  local function load(what, ...)
    local held, address, drift = host.model(...)
    if not held then error(what .. ": " .. tostring(address), 3) end
    drift = drift and ffi.cast("const mw_drift *", drift)
    return ffi.cast("const mw_model *", address), held, drift
  end

  function mw.model(name, given)
    kit.name_of("model", name, 2)
    local what = "model '" .. name .. "'"
    given = kit.table_of(what, given, 2)
    options.only(what, given, { "file", "kind", "features", "iterations", "challenger" }, 2)
    local own = { file = given.file, kind = given.kind, challenger = given.challenger }
    local resolved = options.check(what, own, OPTIONS, 2)
    local first, count = iterations_of(what, given.iterations, 2)
    local model, held, drift = load(what, resolved.file, resolved.kind, first, count)
    -- each model has two scorers: its own, and its challenger's
    local index, other = 2 * #d.models, nil
    local reader = reader_of(what, model, index, given.features, false, 2)
    local names, outputs = reader.names, C.mw_model_scores(model)
    local declared = { name = name, version = version_of(model), held = { held } }
    if resolved.challenger then
      local its = "the challenger of " .. what
      local challenger, also_held = load(its, resolved.challenger, nil, 0, 0)
      declared.held[2] = also_held
      if C.mw_model_scores(challenger) ~= outputs then
        error(its .. " has another number of outputs", 2)
      end
      other = reader_of(its, challenger, index + 1, given.features, true, 2)
      declared.challenger = version_of(challenger)
    end
    d.models[#d.models + 1] = declared

    function declared.bind()
      reader.bind()
      if drift then C.mw_view_model_drift(R, index, drift) end
      if other then other.bind() end
    end

    --- What the challenger says changes nothing, whatever it is.
    local function challenge(of, extra, as_row)
      if as_row then
        C.mw_view_model_challenge(R, index, index + 1, ROW, event.row_of(of))
      else
        local good = pcall(other.read, of, extra)
        C.mw_view_model_challenge(R, index, index + 1, good and READ or FAILED, 0)
      end
    end

    local function scores()
      if outputs == 1 then return R.numbers[0] end
      local list = {}
      for i = 1, outputs do
        list[i] = R.numbers[i - 1]
      end
      return list
    end

    local methods = {}

    --- The model's score of an event (or of a table): a number; of several outputs, a list. `extra`
    --- has features that the event has not, by name.
    function methods.score(_, of, extra)
      local as_row = extra == nil and R.overlaid == 0 and getmetatable(of) == Event
      if as_row then
        if C.mw_view_score(R, index, event.row_of(of)) == 0 then reader.refuse(2) end
      else
        reader.read(of, extra)
        C.mw_view_model_score(R, index)
      end
      if not other then return (scores()) end
      local score = scores()
      challenge(of, extra, as_row)
      return score
    end

    --- Why: what each feature adds to the margin (what the model says before its transform), the
    --- greatest first: `{ base =, reasons = { { feature =, adds = }, … } }`; of several outputs a
    --- list of these. `how`: "exact" (TreeSHAP, the default) or "path", which costs one walk.
    function methods.explain(_, of, extra, how)
      if how ~= nil and how ~= "exact" and how ~= "path" then
        error(what .. ": an explanation is 'exact' or 'path', not " .. tostring(how), 2)
      end
      reader.read(of, extra)
      if C.mw_view_model_explain(R, index, how == "path" and 0 or 1) == 0 then reader.refuse(2) end
      local list, each = {}, #names + 1
      for k = 1, C.mw_model_margins(model) do
        local from, reasons = (k - 1) * each, {}
        for i = 1, #names do
          local adds = R.numbers[from + i - 1]
          if adds ~= 0 then reasons[#reasons + 1] = { feature = names[i], adds = adds } end
        end
        table.sort(reasons, function(a, b)
          local x, y = math.abs(a.adds), math.abs(b.adds)
          return x > y or (x == y and a.feature < b.feature)
        end)
        list[k] = { base = R.numbers[from + #names], reasons = reasons }
      end
      return #list == 1 and list[1] or list
    end

    --- A hash of the file and of which iterations are used: 16 hexadecimal digits.
    function methods.version() return declared.version end

    --- The names of its features, in the model's order.
    function methods.features()
      local copy = {}
      for i = 1, #names do
        copy[i] = names[i]
      end
      return copy
    end

    return kit.handle_of("model", name, index, methods)
  end
end

return M
