local s = require "support"

local function pages()
  local list = { s.root .. "/README.md" }
  for path in io.popen("find " .. s.root .. "/docs " .. s.root .. "/examples -name '*.md' | sort"):lines() do
    list[#list + 1] = path
  end
  return list
end

describe("the docs", function()
  after_each(s.clean)

  it("have samples that are flows, which check and whose fixtures pass", function()
    local count = 0
    for _, path in ipairs(pages()) do
      for sample in s.read(path):gmatch "```lua\n(.-)```" do
        local folder = s.folder()
        count = count + 1
        s.write(folder .. "/card-risk.json", s.read(s.root .. "/examples/scoring/card-risk.json"))
        local code, out, err = s.moonweir("test", folder, sample)
        assert.equal(0, code, path .. ": " .. sample .. out .. err)
        code, _, err = s.moonweir("check", folder, sample)
        assert.equal(0, code, path .. ": " .. err)
        assert.equal("", err, path)
      end
    end
    assert.is_true(count >= 6)
  end)

  it("have no link to a file that is not there", function()
    for _, path in ipairs(pages()) do
      local folder = path:match "^(.*)/"
      for target in s.read(path):gmatch "%]%(([^)#:]+)[^)]*%)" do
        local there = os.execute(("test -e '%s/%s'"):format(folder, target)) == 0
        assert.is_true(there, path .. " links to " .. target)
      end
    end
  end)

  it("have the options that the program has", function()
    local folder = s.folder()
    local code, out, err = s.run({ "luajit", s.root .. "/scripts/reference.lua", s.program, folder })
    assert.equal(0, code, out .. err)
    for _, name in ipairs { "sources.md", "sinks.md" } do
      assert.equal(s.read(folder .. "/" .. name), s.read(s.root .. "/docs/reference/" .. name),
        "run: luajit scripts/reference.lua build/release/moonweir docs/reference")
    end
  end)

  it("have every command-line option, metric and declaration", function()
    local _, help = s.run { s.program, "--help" }
    local commands = s.read(s.root .. "/docs/reference/commands.md")
    for option in help:gmatch "%-%-[%a%-]+" do assert.matches(option, commands, 1, true) end
    local metrics = s.read(s.root .. "/docs/reference/metrics.md")
    for name in s.read(s.root .. "/core/flow/metrics.c"):gmatch '"(moonweir_[%a_]+)"' do
      assert.matches(name, metrics, 1, true)
    end
    local declarations = s.read(s.root .. "/docs/reference/declarations.md")
    for path in io.popen("ls " .. s.root .. "/scripts/moonweir/*.lua"):lines() do
      for name in s.read(path):gmatch "function mw%.([%a_]+)" do
        assert.matches("mw." .. name, declarations, 1, true)
      end
    end
  end)

  it("and the examples pass their own fixtures", function()
    for path in io.popen("find " .. s.root .. "/examples -name 'flow.lua'"):lines() do
      local code, out, err = s.run({ s.program, "test", path }, { cwd = s.folder() })
      assert.equal(0, code, path .. out .. err)
    end
  end)
end)
