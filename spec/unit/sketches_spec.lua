-- Sketches against what they estimate: within the stated error in at least 99 of 100 tries.
local ffi = require "ffi"
local c = require "c"
local cjson = require "cjson"
local lib = c.lib

local SEED = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
local TRIES = 100

local function hash(text) return lib.mw_key_of_text(text, #text) end

--- How many of the tries are within the error.
local function good(within)
  local count = 0
  for i = 1, TRIES do
    if within(i) then count = count + 1 end
  end
  return count
end

describe("counting different values", function()
  local function count(n, salt)
    local d = ffi.new "mw_distinct *[1]"
    for i = 1, n do
      local h = hash(salt .. ":" .. i)
      lib.mw_distinct_add(d, h)
      if i % 3 == 0 then lib.mw_distinct_add(d, h) end
    end
    return d
  end

  it("is exact while they are few", function()
    for n = 0, 256 do
      local d = count(n, SEED)
      assert.equal(n, lib.mw_distinct_count(d[0]))
      lib.mw_distinct_free(d[0])
    end
  end)

  it("is within three standard errors beyond", function()
    for _, n in ipairs { 300, 1000, 10000, 100000 } do
      local within = good(function(i)
        local d = count(n, SEED .. i)
        local got = lib.mw_distinct_count(d[0])
        lib.mw_distinct_free(d[0])
        return math.abs(got - n) <= 3 * 0.01625 * n
      end)
      assert(within >= 99, ("%d of %d tries with %d values (seed %d)"):format(within, TRIES, n, SEED))
    end
  end)

  it("is the same put together from parts, small and large", function()
    for _, n in ipairs { { 10, 20 }, { 10, 1000 }, { 1000, 10 }, { 2000, 3000 } } do
      local a, b, both = count(n[1], "a" .. SEED), count(n[2], "b" .. SEED), count(n[1], "a" .. SEED)
      for i = 1, n[2] do
        lib.mw_distinct_add(both, hash("b" .. SEED .. ":" .. i))
      end
      lib.mw_distinct_merge(a, b[0])
      assert.equal(lib.mw_distinct_count(both[0]), lib.mw_distinct_count(a[0]))
      lib.mw_distinct_free(a[0])
      lib.mw_distinct_free(b[0])
      lib.mw_distinct_free(both[0])
    end
  end)
end)

describe("quantiles", function()
  it("are within one in a hundred of the value, of any distribution, put together or not", function()
    math.randomseed(SEED)
    local draws = {
      function() return math.random() * 1000 end,
      function() return math.exp(math.random() * 20 - 5) end,
      function() return -math.log(1 - math.random()) end,
      function() return math.random(-50, 50) end,
    }
    for k, draw in ipairs(draws) do
      local s, parts, values = ffi.new "mw_quantile *[1]", ffi.new "mw_quantile *[2]", {}
      for i = 1, 5000 do
        local v = draw()
        values[i] = v
        lib.mw_quantile_add(s, v)
        lib.mw_quantile_add(parts + i % 2, v)
      end
      lib.mw_quantile_merge(parts, parts[1])
      table.sort(values)
      for _, q in ipairs { 0, 0.01, 0.25, 0.5, 0.9, 0.99, 1 } do
        local want = values[math.floor(q * (#values - 1)) + 1]
        local got = lib.mw_quantile_at(s[0], q)
        assert(math.abs(got - want) <= 0.0101 * math.abs(want) + 1e-9, ("%d: %g is %g, not %g (seed %d)"):format(k, q, got, want, SEED))
        assert.equal(got, lib.mw_quantile_at(parts[0], q))
      end
      lib.mw_quantile_free(s[0])
      lib.mw_quantile_free(parts[0])
      lib.mw_quantile_free(parts[1])
    end
  end)
end)

describe("what comes most often", function()
  local function add(t, k, text)
    local v = ffi.new "mw_value"
    v.kind, v.text, v.len = 1, text, #text
    lib.mw_top_add(t, k, v, hash(text))
  end
  local function read(t)
    local text = c.buffer(function(b) lib.mw_top_json(t, b) end)
    return cjson.decode(text)
  end

  it("is found, with counts that are never too small and too large by the error at most", function()
    math.randomseed(SEED)
    local t, parts, counts = ffi.new "mw_top *[1]", ffi.new "mw_top *[2]", {}
    local n = 20000
    for i = 1, n do
      local text = "v" .. math.floor(math.exp(math.random() * 7))
      counts[text] = (counts[text] or 0) + 1
      add(t, 10, text)
      add(parts + i % 2, 10, text)
    end
    lib.mw_top_merge(parts, parts[1])
    for _, of in ipairs { t[0], parts[0] } do
      local list = read(of)
      assert.equal(10, #list)
      for _, e in ipairs(list) do
        assert(e.count >= counts[e.value], e.value)
        assert(e.count - e.error <= counts[e.value], e.value)
        assert(e.error <= n / 80 * 2, e.value)
      end
      local largest = 0
      for _, v in pairs(counts) do
        largest = math.max(largest, v)
      end
      assert.equal(largest, counts[list[1].value])
    end
    lib.mw_top_free(t[0])
    lib.mw_top_free(parts[0])
    lib.mw_top_free(parts[1])
  end)
end)

describe("whether a value has come", function()
  it("is never forgotten, and taken for known by at most one in a hundred", function()
    for _, n in ipairs { 100, 5000 } do
      local m = ffi.new "mw_member *[1]"
      for i = 1, n do
        lib.mw_member_add(m, 5000, hash(SEED .. ":" .. i))
      end
      local wrong = 0
      for i = 1, 20000 do
        if i <= n then assert.equal(1, lib.mw_member_has(m[0], hash(SEED .. ":" .. i))) end
        if lib.mw_member_has(m[0], hash(SEED .. "x" .. i)) == 1 then wrong = wrong + 1 end
      end
      assert(wrong <= 200 and (n > 256 or wrong == 0), wrong .. " (seed " .. SEED .. ")")
      lib.mw_member_free(m[0])
    end
  end)
end)

describe("entries by key", function()
  local function key_of(text) return ffi.new("mw_key", { text, #text, 1, hash(text) }) end

  it("are what a table says, through additions, removals and checkpoints", function()
    math.randomseed(SEED)
    local t, model = lib.mw_entries_new(8, nil, nil), {}
    lib.mw_entries_track(t)
    local saved, count, cutting = {}, 0, nil
    local function take(most)
      local records = ffi.new "mw_buffer"
      local more = lib.mw_entries_take(t, most, records)
      local at = 0
      while at < tonumber(records.len) do
        local r = ffi.cast("mw_entry_record *", records.bytes + at)
        saved[ffi.string(r.key, r.key_len)] = r.removed == 0 and ffi.cast("uint64_t *", r.key + r.key_len)[0] or nil
        at = at + r.bytes
      end
      lib.mw_buffer_close(records)
      return more == 1
    end
    local function same(a, b)
      for k, v in pairs(a) do
        assert(b[k] == v, ("%s: %s, not %s (seed %d)"):format(k, tostring(b[k]), tostring(v), SEED))
      end
    end
    for i = 1, 60000 do
      local text = "key" .. math.random(8000) .. ("x"):rep(math.random(1) * 5)
      local id = lib.mw_entries_find(t, key_of(text))
      assert.equal(model[text] ~= nil, id ~= 0)
      if id ~= 0 and math.random() < 0.3 then
        lib.mw_entries_remove(t, id)
        model[text], count = nil, count - 1
      else
        if id == 0 then count = count + 1 end
        id = lib.mw_entries_add(t, key_of(text))
        lib.mw_entries_touch(t, id)
        ffi.cast("uint64_t *", lib.mw_entries_at(t, id) + 8)[0] = i
        model[text] = ffi.new("uint64_t", i)
      end
      if cutting then
        if i % 50 == 0 and not take(100) then
          same(cutting, saved)
          same(saved, cutting)
          cutting = nil
        end
      elseif i % 3000 == 0 then
        lib.mw_entries_cut(t)
        cutting = {}
        for k, v in pairs(model) do
          cutting[k] = v
        end
      end
    end
    assert.equal(count, tonumber(lib.mw_entries_count(t)))
    local cursor, seen = ffi.new "uint32_t[1]", 0
    while lib.mw_entries_next(t, cursor) ~= 0 do
      seen = seen + 1
    end
    assert.equal(count, seen)
    lib.mw_entries_free(t)
  end)
end)
