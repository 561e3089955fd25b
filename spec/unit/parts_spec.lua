local ffi = require "ffi"
local c = require "c"
local lib = c.lib

describe("an index of conditions", function()
  it("finds the rules whose every field has one of its values, in order", function()
    local STRING, NUMBER, TRUE = 1, 2, 5
    local w = lib.mw_when_new()
    local function add(rule, path, kind, v)
      lib.mw_when_add(
        w,
        rule,
        path,
        kind,
        kind == NUMBER and v or 0,
        kind == STRING and v or "",
        kind == STRING and #v or 0
      )
    end
    add(2, 0, STRING, "FR")
    add(2, 1, NUMBER, 5)
    add(4, 0, STRING, "FR")
    add(4, 0, STRING, "DE")
    add(7, 2, TRUE)
    lib.mw_when_build(w)
    local values, matched = ffi.new "mw_value[3]", ffi.new "uint32_t[8]"
    local function match(country, n, flag)
      values[0].kind, values[0].text, values[0].len =
        country and 1 or 0, country or "", country and #country or 0
      values[1].kind, values[1].number = n and 2 or 0, n or 0
      values[2].kind = flag and 5 or 4
      local list = {}
      for i = 1, lib.mw_when_match(w, values, matched) do
        list[i] = matched[i - 1]
      end
      return list
    end
    assert.same({ 2, 4 }, match("FR", 5, false))
    assert.same({ 4 }, match("FR", 6, false))
    assert.same({ 4, 7 }, match("DE", nil, true))
    assert.same({}, match("GB", 5, false))
    assert.same({ 7 }, match(nil, nil, true))
    lib.mw_when_free(w)
  end)
end)

describe("a sequencer", function()
  it("gives in order what comes in any order", function()
    local items, sequencer, got = {}, ffi.new "mw_sequencer", {}
    for i = 0, 9 do
      items[i] = ffi.new "mw_sequenced"
      items[i].number = i
    end
    for _, i in ipairs { 3, 1, 0, 2, 7, 9, 8, 4, 6, 5 } do
      lib.mw_sequencer_push(sequencer, items[i])
      while true do
        local item = lib.mw_sequencer_pop(sequencer)
        if item == nil then break end
        got[#got + 1] = tonumber(item.number)
      end
    end
    assert.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, got)
  end)
end)

describe("the hash of a key", function()
  it("is the same on every machine: key groups are kept", function()
    assert.equal(lib.mw_key_of_text("abc", 3), lib.mw_key_of_text("abc", 3))
    local groups = {}
    for i = 1, 10000 do
      local key = "card-" .. i
      local group = tonumber(lib.mw_key_of_text(key, #key) % 256)
      groups[group] = (groups[group] or 0) + 1
    end
    for group = 0, 255 do
      assert.is_true(groups[group] > 10 and groups[group] < 90, "group " .. group)
    end
  end)
end)
