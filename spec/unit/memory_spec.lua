-- What a key takes of memory for each aggregate, against what the reference says.
local ffi = require "ffi"
local c = require "c"
local cjson = require "cjson"
local lib = c.lib

ffi.cdef [[
struct mw_mallinfo { size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost; };
struct mw_mallinfo mallinfo2(void);
]]

local function allocated()
  local m = ffi.C.mallinfo2()
  return tonumber(m.uordblks) + tonumber(m.hblkhd)
end

local KEYS = 20000

--- Bytes a key of a window that keeps `keep` after the given numbers of a key.
local function measure(keep, values)
  collectgarbage()
  local before = allocated()
  local text = cjson.encode {
    by = { "k" },
    inputs = { "x" },
    spans = { { span = 60000000000, slide = 60000000000 } },
    gap = 0,
    lateness = 0,
    keep = { keep },
  }
  local pointer, err = ffi.new "mw_window *[1]", ffi.new "mw_error"
  local json = c.padded(text)
  assert.equal(0, lib.mw_window_new(pointer, json, #text, err), ffi.string(err.message))
  local key, scratch, at = ffi.new "mw_key", ffi.new "mw_buffer", ffi.new "uint32_t[1]"
  local name, x = ffi.new "mw_value", ffi.new "mw_value"
  local of_key, inputs = ffi.new("const mw_value *[1]", { name }), ffi.new("const mw_value *[1]", { x })
  for i = 1, KEYS do
    local k = ("u%09d"):format(i)
    name.kind, name.text, name.len = 1, k, #k
    assert(lib.mw_key_make(key, of_key, 1, scratch, at) == 0)
    for j = 1, #values do
      local v = values[j]
      if type(v) == "string" then
        x.kind, x.text, x.len = 1, v, #v
      else
        x.kind, x.number = 2, v
      end
      assert(lib.mw_window_add(pointer[0], key, 0, inputs, 1000000000, 0) == 0)
    end
  end
  local bytes = (allocated() - before) / KEYS
  lib.mw_window_free(pointer[0])
  lib.mw_buffer_close(scratch)
  return bytes
end

local function numbers(n, from, step)
  local list = {}
  for i = 1, n do
    list[i] = from + (i - 1) * step
  end
  return list
end

local function texts(n)
  local list = {}
  for i = 1, n do
    list[i] = ("value%05d"):format(i)
  end
  return list
end
--- What the reference says of an aggregate in a pane: { bytes, bytes a value, values at most }.
local CASES = {
  { "sum", { kind = "sum", input = 0 }, { 1 }, 8 },
  { "mean", { kind = "mean", input = 0 }, { 1 }, 16 },
  { "variance", { kind = "variance", input = 0 }, { 1 }, 24 },
  { "rate", { kind = "rate", input = -1 }, { 1 }, 8 },
  { "ewma", { kind = "ewma", input = 0, half_life = 60e9 }, { 1 }, 24 },
  { "last, a number", { kind = "last", input = 0 }, { 1 }, 24 },
  { "first, a text of ten", { kind = "first", input = 0 }, { "value00001" }, 24, 32 },
  { "histogram of four", { kind = "histogram", input = 0, bounds = { 1, 2, 3 } }, { 1 }, 32 },
  { "seen, 10 values", { kind = "seen", input = 0, parameter = 10000 }, texts(10), 8, 16 * 10 },
  { "seen, 256 values", { kind = "seen", input = 0, parameter = 10000 }, texts(256), 8, 16 * 256 + 32 },
  { "seen, 1000 of 1000", { kind = "seen", input = 0, parameter = 1000 }, texts(1000), 8, 2 * 1000 + 100 },
  { "distinct, 10 values", { kind = "distinct", input = 0 }, texts(10), 8, 16 * 10 },
  { "distinct, 256 values", { kind = "distinct", input = 0 }, texts(256), 8, 16 * 256 + 32 },
  { "distinct, 1000 values", { kind = "distinct", input = 0 }, texts(1000), 8, 4300 },
  { "quantile, one power of ten", { kind = "quantile", input = 0, parameter = 0.99 }, numbers(100, 100, 9), 8, 600 },
  { "quantile, three", { kind = "quantile", input = 0, parameter = 0.99 }, numbers(1000, 1, 1), 8, 3 * 600 },
  { "top, 10 values", { kind = "top", input = 0, parameter = 10 }, texts(10), 8, 10 * 105 },
  { "top, 200 values of 80", { kind = "top", input = 0, parameter = 10 }, texts(200), 8, 80 * 105 },
  { "collect, 100 of 150", { kind = "collect", input = 0, parameter = 100 }, texts(150), 8, 100 * 50 },
}

describe("a key of a window", function()
  --- 8, the text of ten up to 16, 4 in a list, 12 of index, 8 for the span, two panes of 8 and the aggregate.
  local function stated(in_pane) return 8 + 16 + 4 + 12 + 8 + 2 * (8 + in_pane) end

  it("that counts takes what the guide says", function()
    local bytes = measure({ kind = "count", input = -1 }, { 1 })
    assert(bytes <= stated(8) * 1.1 and bytes > stated(8) * 0.9, bytes .. " bytes, " .. stated(8) .. " stated")
  end)

  for _, case in ipairs(CASES) do
    local name, keep, values, pane, more = unpack(case)
    it("takes no more than the reference says: " .. name, function()
      local bytes, most = measure(keep, values), stated(pane) * 1.1 + (more or 0)
      assert(bytes <= most, bytes .. " bytes, " .. most .. " stated")
      assert(bytes >= most * 0.6, bytes .. " bytes, far less than the " .. most .. " that are stated")
    end)
  end
end)
