local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.file("input", { path = "in.ndjson", block = "16KiB", in_flight = "256KiB" })
  local out = mw.sink.file("out", { path = "small/out.ndjson" })
  mw.rule("r", { from = input }, function(e) out:send(e) end)
]]

describe("a full disk", function()
  after_each(s.clean)

  it("delays events, and loses none", function()
    local folder = s.folder()
    local mounted = s.small_disk(folder .. "/small", "1m")
    if not mounted then return pending "a small tmpfs cannot be mounted here (it wants root)" end
    os.execute("head -c 900000 /dev/zero > " .. mounted .. "/ballast")
    local lines = {}
    for n = 1, 8000 do
      lines[n] = ('{"n":%d,"pad":"%s"}'):format(n, ("y"):rep(60))
    end
    local text = table.concat(lines, "\n") .. "\n"
    s.write(folder .. "/in.ndjson", text)
    local p = s.start(
      s.command("run", folder, FLOW, { "--state", "state", "--shards", "1" }),
      { cwd = folder }
    )
    s.eventually(
      function() return p:stderr():find "No space left on device" end,
      10,
      function() return p:stderr() end
    )
    s.sleep(0.3)
    assert.is_nil(p:poll())
    os.remove(mounted .. "/ballast")
    s.eventually(
      function() return #s.read(mounted .. "/out.ndjson") == #text end,
      20,
      function() return p:stderr() end
    )
    assert.equal(0, p:wait(20))
    assert.equal(text, s.read(mounted .. "/out.ndjson"))
    assert.matches("delivers again", p:stderr())
  end)
end)

describe("a path that cannot be written", function()
  after_each(s.clean)

  it("is an error at the start, with the declaration's line", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "{}\n")
    s.write(folder .. "/small", "a file, not a folder")
    local code, _, err = s.moonweir("run", folder, FLOW, { "--state", "state" })
    assert.equal(2, code)
    assert.matches("flow.lua:3: sink 'out': cannot open 'small/out.ndjson'", err)
  end)

  it("of one value of a template costs that value's events only", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", '{"c":"a"}\n{"c":"b"}\n{"c":"a"}\n')
    os.execute("mkdir -p " .. folder .. "/out/b.ndjson")
    local code = s.moonweir(
      "run",
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.file("out", { path = "out/{c}.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]],
      { "--state", "state" }
    )
    assert.equal(0, code)
    assert.equal(2, #s.lines(folder .. "/out/a.ndjson"))
    assert.matches("Is a directory", s.events(folder .. "/state/dead-letters.ndjson")[1].error)
  end)
end)

describe("input of extreme form", function()
  after_each(s.clean)

  it("a line of a gigabyte goes to the dead letters whole, in parts, and costs no memory", function()
    local folder = s.folder()
    local pipe = ("(echo '{\"n\":1}'; head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo '{\"n\":2}') | %s run flow.lua --state state --quiet --no-supervisor"):format(
      s.program
    )
    s.write(
      folder .. "/flow.lua",
      [[
      local mw = require "moonweir"
      local input = mw.source.stdin("input", {})
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]
    )
    local code, _, err =
      s.run({ "sh", "-c", "cd " .. folder .. " && ulimit -v 2000000 && " .. pipe }, nil, 120)
    assert.equal(0, code, err)
    assert.equal('{"n":1}\n{"n":2}\n', s.read(folder .. "/out.ndjson"))
    local bytes, last = 0, ""
    for letter in io.lines(folder .. "/state/dead-letters.ndjson") do
      bytes, last = bytes + #letter:match '"raw":"([x\\n]*)"', letter
    end
    assert.equal(1073741824 + 2, bytes) -- the line break is written as two bytes
    assert.matches("the last, of a frame of 1073741825 bytes", last)
  end)

  it("random bytes are dead letters, whole, and the run goes on", function()
    local folder = s.folder()
    os.execute(
      ("head -c 300000 /dev/urandom > %s/in.ndjson; printf '\\n{\"n\":1}\\n' >> %s/in.ndjson"):format(
        folder,
        folder
      )
    )
    local code = s.moonweir(
      "run",
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]],
      { "--state", "state" }
    )
    assert.equal(0, code)
    assert.equal('{"n":1}', s.lines(folder .. "/out.ndjson")[#s.lines(folder .. "/out.ndjson")])
    local bytes, lines = 0, 0
    for _, letter in ipairs(s.events(folder .. "/state/dead-letters.ndjson")) do
      bytes = bytes + #(letter.raw or require "mime".unb64(letter.raw_base64))
      lines = lines + 1
    end
    assert.is_true(bytes + lines >= 299000)
  end)
end)
