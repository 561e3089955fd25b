local s = require "support"

local function files(pattern)
  local list = {}
  for path in io.popen("cd " .. s.root .. " && find " .. pattern .. " | sort"):lines() do
    list[#list + 1] = path
  end
  return list
end

describe("the structure", function()
  -- what each folder of core/ may include, besides itself
  local MAY = {
    base = {},
    event = { "base" },
    net = { "base" },
    state = { "base", "event" },
    score = { "base", "event" },
    lua = { "base", "event", "state", "score" },
    flow = { "base", "event", "net", "state", "score", "lua", "moonweir" },
    sources = { "base", "event", "net", "moonweir" },
    sinks = { "base", "event", "net", "moonweir" },
    include = { "base", "event" },
    admin = { "base", "net", "flow" },
    cli = { "base", "event", "state", "score", "admin", "flow" },
  }

  it("has dependencies in one direction", function()
    local seen = 0
    for _, path in ipairs(files "core -name '*.[ch]'") do
      local folder = path:match "^core/([^/]+)/"
      local allowed = { [folder] = true }
      for _, name in ipairs(assert(MAY[folder], "the folder core/" .. folder .. " has no rule")) do
        allowed[name] = true
      end
      for line in s.read(s.root .. "/" .. path):gmatch "[^\n]+" do
        local included = line:match '^#include "([^/"]+)/' or line:match "^#include <(moonweir)/"
        if included then
          seen = seen + 1
          assert.is_true(allowed[included] or false, path .. " may not include " .. included .. "/")
        end
      end
    end
    assert.is_true(seen > 100)
  end)

  it("has no long file and no private header that another folder includes", function()
    for _, path in
      ipairs(files "core scripts plugins spec -name '*.[ch]' -o -name '*.lua' -o -name '*.cc'")
    do
      local _, lines = s.read(s.root .. "/" .. path):gsub("\n", "")
      assert.is_true(lines <= 600, path .. " has " .. lines .. " lines")
    end
    for _, path in ipairs(files "core -name '*.[ch]'") do
      for folder in s.read(s.root .. "/" .. path):gmatch '#include "([^/"]+)/[^"]*_private.h"' do
        assert.equal(path:match "^core/([^/]+)/", folder, path)
      end
    end
  end)

  it("says in every file what it is for", function()
    for _, path in ipairs(files "core -name '*.[ch]'") do
      local name = path:match "[^/]+$"
      local first = s.read(s.root .. "/" .. path):match "^/%* ([^\n]+)"
      assert.is_truthy(
        first and first:find(name, 1, true) == 1,
        path .. " should begin with /* " .. name
      )
    end
    for _, folder in ipairs(files "core -mindepth 1 -maxdepth 1 -type d") do
      assert.is_truthy(
        s.read(s.root .. "/" .. folder .. "/README.md") ~= "",
        folder .. " wants a README.md"
      )
    end
  end)

  it("holds to the layout of its top level", function()
    local allowed = {}
    for name in
      ("CMakeLists.txt CMakePresets.json README.md LICENSE core scripts plugins examples spec docs build"):gmatch "%S+"
    do
      allowed[name] = true
    end
    for name in io.popen("ls " .. s.root):lines() do
      assert.is_true(allowed[name] or false, name .. " is at the top level")
    end
  end)
end)
