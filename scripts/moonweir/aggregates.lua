--- What a window can keep: mw.count() and its like, for the option `keep`.
local options = require "moonweir.options"

local M = {}

local function field_of(name, field, optional)
  if field == nil and optional then return nil end
  if type(field) ~= "string" or field == "" then
    error("mw." .. name .. " wants the name of a field", 3)
  end
  return field
end

local function number_of(name, what, n, low, high, fallback)
  if n == nil then n = fallback end
  if type(n) ~= "number" or n < low or n > high or n ~= n then
    error(("mw.%s: %s is a number from %g to %g"):format(name, what, low, high), 3)
  end
  return n
end

--- Marks what is an aggregate, and closes it.
local mark = { __metatable = "aggregate" }

local function aggregate(kind, field, parameter, bounds)
  return setmetatable({ kind = kind, field = field, parameter = parameter, bounds = bounds }, mark)
end

--- Adds the constructors to `mw`.
function M.open(mw)
  function mw.count(field) return aggregate("count", field_of("count", field, true)) end
  function mw.rate() return aggregate "rate" end
  for _, kind in ipairs { "sum", "min", "max", "mean", "variance", "distinct", "first", "last" } do
    mw[kind] = function(field) return aggregate(kind, field_of(kind, field)) end
  end
  function mw.ewma(field, half_life)
    local ns, expected = options.duration(half_life or "1m")
    if not ns or ns == 0 then
      error("mw.ewma: the half-life is " .. (expected or "a duration"), 2)
    end
    return aggregate("ewma", field_of("ewma", field), ns)
  end
  function mw.quantile(field, q)
    return aggregate(
      "quantile",
      field_of("quantile", field),
      number_of("quantile", "the share", q, 0, 1)
    )
  end
  function mw.top(field, k)
    k = number_of("top", "how many", k, 1, 8000, 10)
    return aggregate("top", field_of("top", field), math.floor(k))
  end
  function mw.collect(field, most)
    most = number_of("collect", "how many", most, 1, 1e6, 100)
    return aggregate("collect", field_of("collect", field), math.floor(most))
  end
  function mw.seen(field, capacity)
    capacity = number_of("seen", "the capacity", capacity, 1, 2 ^ 26, 10000)
    return aggregate("seen", field_of("seen", field), math.floor(capacity))
  end
  function mw.histogram(field, bounds)
    field_of("histogram", field)
    if type(bounds) ~= "table" or #bounds == 0 then
      error("mw.histogram wants a list of bounds", 2)
    end
    local list = {}
    for i, bound in ipairs(bounds) do
      if type(bound) ~= "number" or (i > 1 and bound <= bounds[i - 1]) then
        error("mw.histogram: the bounds are numbers, each above the one before", 2)
      end
      list[i] = bound
    end
    return aggregate("histogram", field, nil, list)
  end
end

function M.is(v) return type(v) == "table" and getmetatable(v) == "aggregate" end

--- Kinds whose value is read only when it is asked for.
M.lazy = {
  distinct = true,
  quantile = true,
  first = true,
  last = true,
  top = true,
  histogram = true,
  collect = true,
}
M.is_number = { distinct = true, quantile = true }

return M
