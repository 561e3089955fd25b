-- Windows against a naive recomputation: every event is kept, and what a window should hold is
-- counted again from all of them. Streams are random; the seed is in the message of a failure.
local ffi = require "ffi"
local c = require "c"
local cjson = require "cjson"
local lib = c.lib

local MS = 1000000
local SEED = tonumber(os.getenv "MOONWEIR_SEED") or os.time()

local function value(v)
  local made = ffi.new "mw_value"
  if type(v) == "number" then
    made.kind, made.number = 2, v
  elseif type(v) == "string" then
    made.kind, made.text, made.len = 1, v, #v
  end
  return made, v
end

local KEEP = {
  { kind = "count", input = -1 },
  { kind = "sum", input = 0 },
  { kind = "min", input = 0 },
  { kind = "max", input = 0 },
  { kind = "mean", input = 0 },
  { kind = "variance", input = 0 },
  { kind = "distinct", input = 1 },
  { kind = "first", input = 1 },
  { kind = "last", input = 1 },
  { kind = "collect", input = 1, parameter = 1000 },
  { kind = "histogram", input = 0, bounds = { 3, 6 } },
  { kind = "seen", input = 1, parameter = 100 },
}

local Window = {}
Window.__index = Window

local function declaration(spans, gap, lateness)
  local list = {}
  for i, s in ipairs(spans) do
    list[i] = { span = s[1] * MS, slide = s[2] * MS }
  end
  return cjson.encode {
    by = { "k" },
    inputs = { "x", "s" },
    spans = list,
    gap = gap * MS,
    lateness = lateness * MS,
    emits = true,
    keep = KEEP,
  }
end

local function new_window(text)
  local pointer, err = ffi.new "mw_window *[1]", ffi.new "mw_error"
  local json = c.padded(text)
  local status = lib.mw_window_new(pointer, json, #text, err)
  assert.equal(0, status, ffi.string(err.message))
  return setmetatable({ w = pointer[0], text = text }, Window)
end

local function with_key(k, f)
  local key, scratch, at = ffi.new "mw_key", ffi.new "mw_buffer", ffi.new "uint32_t[1]"
  local v = value(k)
  local values = ffi.new("const mw_value *[1]", { v })
  assert.equal(0, lib.mw_key_make(key, values, 1, scratch, at))
  local result = f(key)
  lib.mw_buffer_close(scratch)
  return result
end

function Window:add(k, x, s, at, mark)
  local vx, vs = value(x), value(s)
  local values = ffi.new("const mw_value *[2]", { vx, vs })
  return with_key(k, function(key) return lib.mw_window_add(self.w, key, 0, values, at * MS, mark * MS) end)
end

--- Everything that a result says, as a table.
function Window:read(span)
  local r = lib.mw_window_results(self.w)[span]
  local n = lib.mw_window_numbers(self.w) + r.span * #KEEP
  local got = { start = tonumber(r.start_ns / MS), finish = tonumber(r.finish_ns / MS), span = r.span }
  for i, a in ipairs(KEEP) do
    if a.kind == "distinct" then
      local number = ffi.new "double[1]"
      assert.equal(1, lib.mw_window_read(self.w, r, i - 1, number, nil))
      got.distinct = number[0]
    elseif i > 7 and a.kind ~= "seen" then
      local text = c.buffer(function(b) assert.equal(1, lib.mw_window_read(self.w, r, i - 1, nil, b)) end)
      got[a.kind] = cjson.decode("[" .. text .. "]")[1]
    elseif n[i - 1] == n[i - 1] then
      got[a.kind] = n[i - 1]
    end
  end
  got.correction = r.correction ~= 0 or nil
  got.key = cjson.decode("[" .. c.buffer(function(b) lib.mw_window_key(self.w, r, b) end) .. "]")[1]
  return got
end

function Window:close(watermark, most, found)
  local status
  repeat
    status = lib.mw_window_close_next(self.w, watermark * MS, most)
    if status == 1 then found(self:read(0)) end
  until status ~= 1
  return status
end

--- What the events of a window come to.
local function recompute(events)
  local got = { count = 0, sum = 0, histogram = { 0, 0, 0 }, collect = {}, distinct = 0 }
  local seen = {}
  for _, e in ipairs(events) do
    got.count = got.count + 1
    got.sum = got.sum + e.x
    got.min = math.min(got.min or e.x, e.x)
    got.max = math.max(got.max or e.x, e.x)
    local bucket = e.x < 3 and 1 or e.x < 6 and 2 or 3
    got.histogram[bucket] = got.histogram[bucket] + 1
    if not seen[e.s] then got.distinct = got.distinct + 1 end
    seen[e.s] = true
    if not got.first_at or e.at < got.first_at then
      got.first, got.first_at = e.s, e.at
    end
    if not got.last_at or e.at >= got.last_at then
      got.last, got.last_at = e.s, e.at
    end
  end
  got.mean = got.sum / got.count
  if got.count > 1 then
    local squares = 0
    for _, e in ipairs(events) do
      squares = squares + (e.x - got.mean) ^ 2
    end
    got.variance = squares / (got.count - 1)
  end
  return got
end

local function near(a, b) return a == b or (a and b and math.abs(a - b) <= 1e-9 * math.max(1, math.abs(a), math.abs(b))) end

local function same(want, got, note)
  for _, name in ipairs { "count", "sum", "min", "max", "mean", "variance", "distinct" } do
    assert(near(want[name], got[name]), ("%s: %s is %s, not %s"):format(note, name, tostring(got[name]), tostring(want[name])))
  end
  assert.same(want.histogram, got.histogram, note)
  assert.equal(want.first, got.first, note .. ": first")
  assert.equal(want.last, got.last, note .. ": last")
  assert.equal(want.count, #got.collect, note .. ": collect")
end

local function random_stream(n, disorder)
  local events, now = {}, math.random(-5000, 5000)
  for i = 1, n do
    now = now + (math.random() < 0.02 and math.random(0, 3000) or math.random(0, 40))
    events[i] = {
      k = "k" .. math.random(1, 5),
      x = math.random(0, 9),
      s = "s" .. math.random(1, 12),
      at = now - (math.random() < 0.3 and math.random(0, disorder) or 0),
    }
  end
  return events
end

--- Loads what a window saved, as one shard of so many, into a new one.
function Window:save_into(again, shard, shards)
  local from, to = lib.mw_window_entries(self.w), lib.mw_window_entries(again.w)
  lib.mw_entries_cut(from)
  local records = ffi.new "mw_buffer"
  while lib.mw_entries_take(from, 3, records) == 1 do
  end
  self.kept = self.kept or {}
  local at = 0
  while at < tonumber(records.len) do
    local r = ffi.cast("mw_entry_record *", records.bytes + at)
    local key = ffi.string(r.key, r.key_len)
    self.kept[key] = r.removed == 0
      and { kind = r.key_kind, hash = r.hash + 0, value = ffi.string(r.key + r.key_len, r.value_len) }
      or nil
    at = at + r.bytes
  end
  lib.mw_buffer_close(records)
  for text, e in pairs(self.kept) do
    local key = ffi.new("mw_key", { text, #text, e.kind, e.hash })
    assert.not_equal(0, lib.mw_entries_restore(to, key, e.value, #e.value))
  end
  local head = c.buffer(function(b) lib.mw_window_save(self.w, b) end)
  lib.mw_window_load(again.w, shard, shards, head, #head)
end

--- Saves a window and loads it into a new one.
function Window:copy()
  local again = new_window(self.text)
  self:save_into(again, 0, 1)
  lib.mw_window_restored(again.w)
  lib.mw_entries_track(lib.mw_window_entries(again.w))
  again.kept = self.kept
  lib.mw_window_free(self.w)
  return again
end

--- Runs a stream through a window; what it emitted, by key, span and start (the last counts), and
--- which events it took.
local function run(window, events, disorder, lateness, check_add)
  local emitted, taken, high, mark = {}, {}, nil, -1e9
  local function keep(r)
    local id = r.key .. "/" .. r.span .. "/" .. r.start
    assert(r.correction or not emitted[id], "only a correction comes again: " .. id)
    emitted[id] = r
  end
  for i, e in ipairs(events) do
    high = math.max(high or e.at, e.at)
    mark = math.max(mark, high - disorder)
    while window:close(mark, math.random(1, 50), keep) == 2 do
    end
    local status = window:add(e.k, e.x, e.s, e.at, mark)
    if status ~= 1 then
      taken[#taken + 1] = e
      check_add(window, e, taken, mark)
    end
    if status == 2 then
      while lib.mw_window_correction(window.w) == 1 do
        keep(window:read(0))
      end
      assert(lateness > 0)
    end
    if i % 97 == 0 then window = window:copy() end
  end
  window:close(1e9, 1000000, keep)
  assert.equal(0, tonumber(lib.mw_entries_count(lib.mw_window_entries(window.w))), "nothing is left")
  assert(lib.mw_window_due(window.w) == 0x7fffffffffffffffLL, "nothing is due any more")
  lib.mw_window_free(window.w)
  return emitted, taken
end

describe("a window of fixed spans", function()
  local function check(spans, lateness, disorder, seed)
    math.randomseed(seed)
    local note = ("seed %d, spans %s, lateness %d, disorder %d"):format(seed, cjson.encode(spans), lateness, disorder)
    local window = new_window(declaration(spans, 0, lateness))
    lib.mw_entries_track(lib.mw_window_entries(window.w))
    local function of(events, k, from, to, cut)
      local list = {}
      for _, e in ipairs(events) do
        if e.k == k and e.at >= from and e.at < to and (not cut or e.over[cut] == nil) then list[#list + 1] = e end
      end
      return list
    end
    local emitted, taken = run(window, random_stream(400, disorder * 2), disorder, lateness, function(w, e, events, mark)
      e.over = {}
      for i, s in ipairs(spans) do
        local start = math.floor(e.at / s[2]) * s[2]
        if start + s[1] + lateness <= mark then
          e.over[i] = true
        else
          local got = w:read(i - 1)
          if start + s[2] <= mark then start = math.min(math.floor(mark / s[2]) * s[2], start + s[1] - s[2]) end
          assert.equal(start + s[2] - s[1], got.start, note)
          same(recompute(of(events, e.k, start + s[2] - s[1], start + s[2], i)), got, note)
        end
      end
    end)
    local wanted = 0
    for i, s in ipairs(spans) do
      local done = {}
      for _, e in ipairs(taken) do
        local first = math.floor(e.at / s[2]) * s[2] + s[2] - s[1]
        for start = first, first + s[1] - s[2], s[2] do
          local id = e.k .. "/" .. (i - 1) .. "/" .. start
          if not e.over[i] and not done[id] then
            done[id] = true
            wanted = wanted + 1
          end
        end
      end
      for id, r in pairs(emitted) do
        if r.span == i - 1 and lateness == 0 and #spans == 1 and s[1] == s[2] then
          assert(done[id], note .. ": nobody asked for " .. id)
          same(recompute(of(taken, r.key, r.start, r.finish, i)), r, note .. " " .. id)
        elseif r.span == i - 1 then
          assert(done[id], note .. ": nobody asked for " .. id)
        end
      end
    end
    local count = 0
    for _ in pairs(emitted) do
      count = count + 1
    end
    if lateness == 0 and disorder >= 0 and #spans == 1 and spans[1][1] == spans[1][2] then assert.equal(wanted, count, note) end
    assert(count <= wanted, note)
  end

  it("holds what a recomputation of all its events gives, read while open and when it closes", function()
    for i = 1, 60 do
      check({ { 1000, 1000 } }, 0, math.random(0, 300), SEED + i)
      check({ { 100, 100 } }, 0, math.random(0, 1000), SEED + i)
      check({ { 1000, 1000 } }, 500, 50, SEED + i)
      check({ { 1000, 250 } }, 0, math.random(0, 300), SEED + i)
      check({ { 600, 100 } }, 300, 100, SEED + i)
      check({ { 100, 100 }, { 1000, 250 }, { 5000, 5000 } }, 0, math.random(0, 300), SEED + i)
    end
  end)
end)

describe("a session", function()
  local function check(gap, lateness, disorder, seed)
    math.randomseed(seed)
    local note = ("seed %d, gap %d, lateness %d, disorder %d"):format(seed, gap, lateness, disorder)
    local window = new_window(declaration({}, gap, lateness))
    lib.mw_entries_track(lib.mw_window_entries(window.w))
    -- live sessions by key as lists of events; one that has ended takes no more
    local live, ended = {}, {}
    local function last_of(session)
      local last = session[1].at
      for _, e in ipairs(session) do
        last = math.max(last, e.at)
      end
      return last
    end
    local function first_of(session)
      local first = session[1].at
      for _, e in ipairs(session) do
        first = math.min(first, e.at)
      end
      return first
    end
    local function finish(mark)
      for k, list in pairs(live) do
        for i = #list, 1, -1 do
          if last_of(list[i]) + gap <= mark then
            ended[k .. "/0/" .. first_of(list[i])] = table.remove(list, i)
          end
        end
      end
    end
    local function take(e)
      local joined, rest = { }, {}
      for _, session in ipairs(live[e.k] or {}) do
        if e.at >= first_of(session) - gap and e.at <= last_of(session) + gap then
          for _, other in ipairs(session) do
            joined[#joined + 1] = other
          end
        else
          rest[#rest + 1] = session
        end
      end
      joined[#joined + 1] = e
      rest[#rest + 1] = joined
      live[e.k] = rest
      return joined
    end
    local emitted = run(window, random_stream(300, disorder * 2), disorder, lateness, function(w, e, _, mark)
      finish(mark)
      local want = take(e)
      if lateness == 0 then same(recompute(want), w:read(0), note) end
    end)
    if lateness > 0 then return end
    finish(1e9)
    local wanted, count = 0, 0
    for id, s in pairs(ended) do
      wanted = wanted + 1
      local r = emitted[id]
      assert(r, note .. ": no session " .. id)
      assert.equal(last_of(s) + gap, r.finish, note)
      same(recompute(s), r, note)
    end
    for _ in pairs(emitted) do
      count = count + 1
    end
    assert.equal(wanted, count, note)
  end

  it("holds what a recomputation of all its events gives", function()
    for i = 1, 100 do
      check(math.random(50, 400), 0, math.random(0, 300), SEED + i)
    end
  end)
end)

describe("windows of several shards, of which one has closed more than the others", function()
  local ADDED, CORRECTED = 0, 2

  local function shard_of(k, shards)
    return with_key(k, function(key) return math.floor(tonumber(key.hash % 256) * shards / 256) end)
  end

  it("are closed once, and corrected, when all are loaded into one", function()
    for shards = 2, 3 do
      local text, all, at = declaration({ { 10000, 10000 } }, 0, 50000), {}, {}
      for i = 0, shards - 1 do
        all[i] = new_window(text)
        lib.mw_entries_track(lib.mw_window_entries(all[i].w))
      end
      for i = 1, 20 do
        local k = "k" .. i
        at[k] = shard_of(k, shards)
        for _, time in ipairs { 1000, 11000 } do
          assert.equal(ADDED, all[at[k]]:add(k, 1, "s", time, 0))
        end
      end
      local told = {}
      local function tell(r)
        local id = r.key .. "/" .. r.start
        told[id] = (told[id] or 0) + 1
      end
      -- the first has closed nothing, the last two windows, what is between one
      for i = 1, shards - 1 do
        assert.equal(0, all[i]:close(i == shards - 1 and 20000 or 10000, 1000, tell))
      end
      local again = new_window(text)
      for i = 0, shards - 1 do
        all[i]:save_into(again, i, shards)
        lib.mw_window_free(all[i].w)
      end
      lib.mw_window_restored(again.w)
      for k, shard in pairs(at) do
        local closed = shard == 0 and ADDED or CORRECTED
        assert.equal(closed, again:add(k, 1, "s", 2000, 10000), k)
        assert.equal(closed == ADDED and 0 or 1, lib.mw_window_correction(again.w))
      end
      assert.equal(0, again:close(20000, 1000, tell))
      for k in pairs(at) do
        assert.equal(1, told[k .. "/0"], k)
        assert.equal(1, told[k .. "/10000"], k)
      end
      assert.equal(CORRECTED, again:add("k1", 1, "s", 2000, 20000))
      lib.mw_window_free(again.w)
    end
  end)

  it("held, end what they are in the middle of, and begin nothing", function()
    local w, told = new_window(declaration({ { 10000, 10000 } }, 0, 0)), 0
    local function tell() told = told + 1 end
    for i = 1, 20 do
      w:add("k" .. i, 1, "s", 1000, 0)
      w:add("k" .. i, 1, "s", 11000, 0)
    end
    assert.equal(2, w:close(20000, 0, tell))
    assert.equal(1, lib.mw_window_is_closing(w.w))
    lib.mw_window_hold(w.w, 1)
    assert.equal(0, w:close(20000, 1000, tell))
    assert.same({ 0, 20 }, { lib.mw_window_is_closing(w.w), told })
    assert.equal(0, w:close(20000, 1000, tell))
    assert.is_true(lib.mw_window_due(w.w) == 0x7fffffffffffffffLL)
    lib.mw_window_hold(w.w, 0)
    assert.equal(0, w:close(20000, 1000, tell))
    assert.equal(40, told)
    lib.mw_window_free(w.w)
  end)
end)
