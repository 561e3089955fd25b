local ffi = require "ffi"
local s = require "support"
local c = require "c"
local lib = c.lib
local cjson = require("cjson").new()
cjson.decode_max_depth(2000)

local function paths_of(list)
  local p = ffi.new "mw_paths"
  lib.mw_paths_init(p)
  local slots = {}
  for _, chain in ipairs(list) do
    local at = -1
    for _, step in ipairs(chain) do
      at = type(step) == "number" and lib.mw_paths_index(p, at, step)
        or lib.mw_paths_key(p, at, step, #step)
    end
    slots[#slots + 1] = at
  end
  return p, slots
end

local KINDS = {
  [0] = "absent",
  "string",
  "number",
  "null",
  "false",
  "true",
  "escaped",
  "integer",
  "object",
  "array",
}

local function show(v)
  local kind = KINDS[v.kind]
  if kind == "string" or kind == "escaped" then
    return "string:" .. (c.buffer(lib.mw_json_unescape, v.text, v.len))
  end
  if kind == "number" then return ("number:%.17g"):format(v.number) end
  if kind == "integer" then return "integer:" .. ffi.string(v.text, v.len) end
  return kind
end

local function scan(text, list)
  local p, slots = paths_of(list or {})
  local values, fault = ffi.new("mw_value[64]"), ffi.new "mw_json_fault"
  local padded = c.padded(text)
  local status = lib.mw_json_scan(padded, #text, p, values, fault)
  local result = {}
  if status == 0 then
    for i, slot in ipairs(slots) do
      result[i] = show(values[slot])
    end
  end
  lib.mw_paths_close(p)
  return status == 0 and result or nil,
    status ~= 0 and ffi.string(fault.what) or nil,
    tonumber(fault.at)
end

describe("the JSON scanner", function()
  it(
    "fills what the paths name, and nothing else",
    function()
      assert.same(
        { "number:1", "string:x", "true", "absent", "array", "number:3" },
        scan(
          '{"a":1,"b":{"c":"x","d":true},"e":[2,3]}',
          { { "a" }, { "b", "c" }, { "b", "d" }, { "b", "z" }, { "e" }, { "e", 2 } }
        )
      )
    end
  )

  it("says what is wrong, and where", function()
    for text, want in pairs {
      ["{"] = { "key must be a string", 1 },
      ['{"a" 1}'] = { "wants a ':'", 5 },
      ["[1,]"] = { "no JSON value", 3 },
      ["01"] = { "leading zero", 0 },
      ["1."] = { "behind its point", 2 },
      ['"a'] = { "does not end", 2 },
      ['"\\x"'] = { "unknown escape", 1 },
      ['"\\u12g4"'] = { "four hexadecimal", 1 },
      ['"\1"'] = { "control character", 1 },
      ['"\237\160\128"'] = { "not UTF%-8", 1 },
      ["{} x"] = { "behind the value's end", 3 },
      [""] = { "missing", 0 },
      [("["):rep(600)] = { "deeper than 512", 513 },
    } do
      local got, what, at = scan(text)
      assert.is_nil(got)
      assert.matches(want[1], what)
      assert.equal(want[2], at, text)
    end
  end)

  it("agrees with JSONTestSuite", function()
    local list = io.popen("ls " .. s.root .. "/spec/data/json_test_suite/test_parsing/*.json"):read "*a"
    local count = 0
    for path in list:gmatch "[^\n]+" do
      local kind = path:match "/([yni])_[^/]*$"
      local ok = scan(s.read(path)) ~= nil
      if kind == "y" then
        assert.is_true(ok, path)
      elseif kind == "n" then
        assert.is_false(ok, path)
      end
      count = count + 1
    end
    assert.is_true(count > 300)
  end)
end)

--- Random documents, most of them alike, some of them broken.
local function random_document(random)
  local function value(depth)
    local n = random(depth > 3 and 8 or 10)
    if n == 1 then
      return "null"
    elseif n == 2 then
      return "true"
    elseif n == 3 then
      return "false"
    elseif n == 4 then
      return tostring(random(1000000) - 500000)
    elseif n == 5 then
      return ("%d.%de%d"):format(random(99), random(9), random(20) - 10)
    elseif n == 6 then
      return "9007199254740993"
    elseif n == 7 then
      return '"' .. ("x"):rep(random(40)) .. '"'
    elseif n == 8 then
      return '"caf\195\169 \\n\\u00e9 \\"q\\""'
    elseif n == 9 then
      local parts = {}
      for i = 1, random(4) - 1 do
        parts[i] = value(depth + 1)
      end
      return "[" .. table.concat(parts, random(5) == 1 and " , " or ",") .. "]"
    end
    local parts = {}
    for i = 1, random(5) - 1 do
      parts[i] = ('"%s"%s%s'):format(
        ({ "a", "b", "c", "d", "\\u0061" })[random(5)],
        random(6) == 1 and " : " or ":",
        value(depth + 1)
      )
    end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  local parts = {}
  for _, k in ipairs { "a", "b", "c", "d", "e" } do
    if random(8) > 1 then parts[#parts + 1] = ('"%s":%s'):format(k, value(1)) end
  end
  local text = "{" .. table.concat(parts, ",") .. "}"
  if random(10) == 1 then
    local at = random(#text)
    text = text:sub(1, at - 1) .. string.char(random(0, 255)) .. text:sub(at + 1)
  end
  return text
end

describe("the projector", function()
  it("gives the scanner's answers, whatever it has learned", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    math.randomseed(seed)
    local p, slots = paths_of {
      { "a" },
      { "b" },
      { "b", "a" },
      { "b", "b" },
      { "c", 1 },
      { "d", "a", "b" },
      { "e" },
    }
    local projector = lib.mw_projector_new(p)
    local fast, slow, fault, fault2 =
      ffi.new "mw_value[64]",
      ffi.new "mw_value[64]",
      ffi.new "mw_json_fault",
      ffi.new "mw_json_fault"
    local documents = {}
    for i = 1, 300 do
      documents[i] = random_document(math.random)
    end
    for round = 1, 30000 do
      local text = documents[math.random(math.random(4) == 1 and 300 or 20)]
      if round % 7 == 0 then text = random_document(math.random) end
      local padded = c.padded(text)
      local one, two =
        lib.mw_projector_run(projector, padded, #text, fast, fault),
        lib.mw_json_scan(padded, #text, p, slow, fault2)
      local where = ("seed %d: %s"):format(seed, text)
      assert.equal(two, one, where)
      if one ~= 0 then
        assert.equal(tonumber(fault2.at), tonumber(fault.at), where)
      else
        for _, slot in ipairs(slots) do
          if show(fast[slot]) ~= show(slow[slot]) then
            error(where .. ": " .. show(fast[slot]) .. " is not " .. show(slow[slot]))
          end
        end
      end
    end
    lib.mw_projector_free(projector)
    lib.mw_paths_close(p)
  end)

  it("knows a duplicate container from the first", function()
    local p, slots = paths_of { { "o", "x" }, { "o", "y" } }
    local projector, values, fault =
      lib.mw_projector_new(p), ffi.new "mw_value[64]", ffi.new "mw_json_fault"
    for _ = 1, 5 do
      for text, want in pairs {
        ['{"o":{"x":1,"y":2}}'] = "number:2",
        ['{"o":{"x":1,"y":2},"o":{"x":3}}'] = "absent",
      } do
        local padded = c.padded(text)
        assert.equal(0, lib.mw_projector_run(projector, padded, #text, values, fault))
        assert.equal(want, show(values[slots[2]]))
      end
    end
    lib.mw_projector_free(projector)
    lib.mw_paths_close(p)
  end)
end)

describe("writing JSON", function()
  it("gives numbers that read back as the same", function()
    for _, n in ipairs {
      0,
      1,
      -1,
      0.1,
      1 / 3,
      1e15,
      1e16,
      123456789012345680,
      5e-324,
      1.7976931348623157e308,
      79.99,
      -0.5,
      2 ^ 53,
    } do
      assert.equal(n, tonumber((c.buffer(lib.mw_json_number, n))))
    end
    assert.equal("null", (c.buffer(lib.mw_json_number, 0 / 0)))
    assert.equal("2", (c.buffer(lib.mw_json_number, 2.0)))
  end)

  it("quotes any bytes into valid JSON", function()
    for _, text in ipairs {
      "",
      'a"b\\c\n\t\1\0',
      "caf\195\169",
      "\255\254x\195",
      "\240\159\152\128",
      "\237\160\128",
    } do
      local quoted = c.buffer(lib.mw_json_quote, text, #text)
      assert.is_not_nil((scan(quoted)))
      if not text:find "[\128-\255]" then
        assert.equal(text, cjson.decode("[" .. quoted .. "]")[1])
      end
    end
  end)
end)

describe("a splice", function()
  local function splice(text, edits)
    local list, kept = ffi.new("mw_edit[?]", #edits), {}
    for i, e in ipairs(edits) do
      local n = #e.path
      local keys, lens, indices =
        ffi.new("const char *[?]", n), ffi.new("uint32_t[?]", n), ffi.new("uint32_t[?]", n)
      for j, step in ipairs(e.path) do
        if type(step) == "string" then
          keys[j - 1], lens[j - 1] = step, #step
        else
          indices[j - 1] = step
        end
      end
      list[i - 1].keys, list[i - 1].key_lens, list[i - 1].indices, list[i - 1].depth =
        keys, lens, indices, n
      if e.to then
        list[i - 1].text, list[i - 1].text_len = e.to, #e.to
      end
      kept[i] = { keys, lens, indices, e.to }
    end
    local err = ffi.new "mw_error"
    assert(#kept == #edits) -- what C borrows must not be collected meanwhile
    local out, status = c.buffer(lib.mw_json_splice, c.padded(text), #text, list, #edits, err)
    return status == 0 and out or nil, ffi.string(err.message)
  end

  it("changes what is named and leaves every other byte", function()
    local text = '{ "a" : 1 , "b":{"x":[1, 2 ]} , "c" : null }'
    assert.equal(
      '{ "a" : "new" , "b":{"x":[1, 2 ]} , "c" : null }',
      splice(text, { { path = { "a" }, to = '"new"' } })
    )
    assert.equal(
      '{ "a" : 1 , "b":{"x":[1, 5 ]} , "c" : null }',
      splice(text, { { path = { "b", "x", 2 }, to = "5" } })
    )
    assert.equal(
      '{ "a" : 1 , "b":{"x":[1, 2 ,3]} , "c" : null }',
      splice(text, { { path = { "b", "x", 3 }, to = "3" } })
    )
    assert.equal(
      '{ "a" : 1 , "b":{"x":[1, 2 ],"n":{"m":0}} , "c" : null }',
      splice(text, { { path = { "b", "n", "m" }, to = "0" } })
    )
    assert.equal(
      '{"b":{"x":[1, 2 ]} , "c" : null }',
      (splice(text, { { path = { "a" } } }):gsub("^{%s*", "{"))
    )
    assert.equal('{"a":1}', splice("{}", { { path = { "a" }, to = "1" } }))
    assert.equal("{}", splice('{"a":1,"a":2}', { { path = { "a" } } }))
  end)

  it("refuses what cannot be", function()
    local got, why = splice('{"a":1}', { { path = { "a", "b" }, to = "1" } })
    assert.is_nil(got)
    assert.matches("no object or array", why)
    assert.is_nil((splice('{"a":[]}', { { path = { "a", 5 }, to = "1" } })))
  end)
end)
