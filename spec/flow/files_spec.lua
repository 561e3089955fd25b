local s = require "support"

local function numbered(from, to)
  local t = {}
  for i = from, to do
    t[#t + 1] = ('{"n":%d,"country":"%s","amount":%d}'):format(
      i,
      i % 3 == 0 and "FR" or "DE",
      i % 100
    )
  end
  return table.concat(t, "\n") .. "\n"
end

describe("a file source", function()
  after_each(s.clean)

  local COPY = [[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    mw.rule("copy", { from = input }, function(e) out:send(e) end)
  ]]

  for _, shards in ipairs { "1", "2", "3" } do
    it("delivers every line, in order, byte for byte, with " .. shards .. " shards", function()
      local folder = s.folder()
      local text = numbered(1, 5000)
        .. '{ "odd" :  [ 1.50, {}, [], null , 12345678901234567890 ] , "s":"\\u00e9\\n" }\n'
      s.write(folder .. "/in.ndjson", text)
      local code, _, err =
        s.moonweir("run", folder, COPY, { "--shards", shards, "--state", "state" })
      assert.equal(0, code, err)
      assert.equal(text, s.read(folder .. "/out.ndjson"))
    end)
  end

  it("delivers in order when far more is on its way than the rings between shards hold", function()
    local text = numbered(1, 60000)
    for _ = 1, 5 do
      local folder = s.folder()
      s.write(folder .. "/in.ndjson", text)
      local code, _, err = s.moonweir("run", folder, COPY, { "--shards", "4", "--state", "state" })
      assert.equal(0, code, err)
      assert.is_true(text == s.read(folder .. "/out.ndjson"))
    end
  end)

  it("takes a last line without a line break", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", '{"n":1}\n{"n":2}')
    assert.equal(0, (s.moonweir("run", folder, COPY, { "--state", "state" })))
    assert.equal('{"n":1}\n{"n":2}\n', s.read(folder .. "/out.ndjson"))
  end)

  it("goes on where it was when it is run again", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", numbered(1, 10))
    s.moonweir("run", folder, COPY, { "--state", "state" })
    s.append(folder .. "/in.ndjson", numbered(11, 20))
    s.moonweir("run", folder, COPY, { "--state", "state" })
    assert.equal(numbered(1, 20), s.read(folder .. "/out.ndjson"))
  end)

  it("begins anew when the file was truncated while it was down", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", numbered(1, 10))
    s.moonweir("run", folder, COPY, { "--state", "state" })
    s.write(folder .. "/in.ndjson", numbered(11, 12))
    local _, _, err = s.moonweir("run", folder, COPY, { "--state", "state" })
    assert.equal(numbered(1, 12), s.read(folder .. "/out.ndjson"))
    assert.matches("read from its start", err)
  end)

  it("reads a glob in order of name, and a list", function()
    local folder = s.folder()
    s.write(folder .. "/b.log", '{"n":2}\n')
    s.write(folder .. "/a.log", '{"n":1}\n')
    s.write(folder .. "/z.txt", '{"n":3}\n')
    local code, _, err = s.moonweir(
      "run",
      folder,
      (COPY:gsub('"in.ndjson"', '{ "*.log", "z.txt" }')),
      { "--state", "state" }
    )
    assert.equal(0, code, err)
    assert.equal('{"n":1}\n{"n":2}\n{"n":3}\n', s.read(folder .. "/out.ndjson"))
  end)

  for _, kind in ipairs { { "gzip -c", "gz" }, { "zstd -qc", "zst" } } do
    it("reads archives made by " .. kind[1], function()
      local folder = s.folder()
      s.write(folder .. "/plain", numbered(1, 3000))
      local archive = folder .. "/in." .. kind[2]
      os.execute(
        ("%s %s/plain > %s && %s %s/plain >> %s"):format(
          kind[1],
          folder,
          archive,
          kind[1],
          folder,
          archive
        )
      )
      local flow = COPY:gsub("in.ndjson", "in." .. kind[2])
      local code, _, err = s.moonweir("run", folder, flow, { "--state", "state" })
      assert.equal(0, code, err)
      assert.equal(numbered(1, 3000) .. numbered(1, 3000), s.read(folder .. "/out.ndjson"))
    end)
  end

  it("says that an archive is truncated, and keeps what could be read", function()
    local folder = s.folder()
    s.write(folder .. "/plain", numbered(1, 3000))
    os.execute(("gzip -c %s/plain | head -c 4000 > %s/in.gz"):format(folder, folder))
    local code =
      s.moonweir("run", folder, (COPY:gsub("in.ndjson", "in.gz")), { "--state", "state" })
    assert.equal(0, code)
    local got = #s.lines(folder .. "/out.ndjson")
    assert.is_true(got > 100 and got < 3000)
    assert.matches("truncated", s.read(folder .. "/state/dead-letters.ndjson"))
  end)

  it("follows a file as it grows, is renamed away and made anew, and is truncated", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", numbered(1, 3))
    local flow = COPY:gsub('block = "4KiB"', 'follow = true, poll = "20ms"')
    local p = s.router(folder, flow)
    local function delivered(n)
      s.eventually(
        function() return #s.lines(folder .. "/out.ndjson") == n end,
        10,
        function() return s.read(folder .. "/out.ndjson") end
      )
    end
    delivered(3)
    s.append(folder .. "/in.ndjson", numbered(4, 4) .. '{"n":5,"country"')
    delivered(4)
    s.append(folder .. "/in.ndjson", ':"DE","amount":5}\n')
    delivered(5)
    os.rename(folder .. "/in.ndjson", folder .. "/in.ndjson.1")
    s.append(folder .. "/in.ndjson.1", numbered(6, 6))
    s.write(folder .. "/in.ndjson", numbered(7, 8))
    delivered(8)
    s.write(folder .. "/in.ndjson", numbered(9, 9)) -- truncates
    delivered(9)
    p:kill()
    assert.equal(0, p:wait(10))
    local seen = {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      seen[e.n] = (seen[e.n] or 0) + 1
    end
    for n = 1, 9 do
      assert.equal(1, seen[n], "event " .. n)
    end
  end)

  it("ends at the end of what is there, and listeners with it, when told to run once", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", numbered(1, 100))
    local flow = COPY:gsub('block = "4KiB"', "follow = true")
      .. 'mw.rule("h", { from = mw.source.http("h", { listen = "127.0.0.1:0" }) }, function() end)'
    local code, _, err = s.moonweir("run", folder, flow, { "--state", "state", "--once" })
    assert.equal(0, code, err)
    assert.equal(numbered(1, 100), s.read(folder .. "/out.ndjson"))
  end)

  it("puts a line that is too long into the dead letters, in parts, and goes on", function()
    local folder = s.folder()
    local long = '{"s":"' .. ("x"):rep(300000) .. '"}\n'
    s.write(folder .. "/in.ndjson", '{"n":1}\n' .. long .. '{"n":2}\n')
    local flow = COPY:gsub('block = "4KiB"', 'block = "4KiB", limit = "64KiB"')
    assert.equal(0, (s.moonweir("run", folder, flow, { "--state", "state" })))
    assert.equal('{"n":1}\n{"n":2}\n', s.read(folder .. "/out.ndjson"))
    local whole, dead = "", s.events(folder .. "/state/dead-letters.ndjson")
    for i, part in ipairs(dead) do
      assert.matches("^part " .. i, part.error)
      assert.equal(8 + #whole, part.position)
      whole = whole .. part.raw
    end
    assert.equal(long, whole)
    assert.matches("the last, of a frame of " .. #long .. " bytes", dead[#dead].error)
  end)

  it("puts a line that is too long into the dead letters where it is read at once, too", function()
    local folder = s.folder()
    local fits, long = '{"s":"' .. ("x"):rep(92) .. '"}', '{"s":"' .. ("x"):rep(93) .. '"}'
    s.write(folder .. "/in.ndjson", '{"n":1}\n' .. long .. "\n" .. fits .. '\n{"n":2}\n')
    local flow = COPY:gsub('block = "4KiB"', "limit = 100")
    assert.equal(0, (s.moonweir("run", folder, flow, { "--state", "state" })))
    assert.equal('{"n":1}\n' .. fits .. '\n{"n":2}\n', s.read(folder .. "/out.ndjson"))
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(1, #dead)
    assert.equal("larger than the 100 bytes that `limit` allows (raise it if it is meant)", dead[1].error)
    assert.same({ s.json.decode(long), "source" }, { dead[1].event, dead[1].stage })
  end)

  it("takes a line larger than its block", function()
    local folder = s.folder()
    local text = '{"s":"' .. ("x"):rep(100000) .. '"}\n{"n":2}\n'
    s.write(folder .. "/in.ndjson", text)
    assert.equal(0, (s.moonweir("run", folder, COPY, { "--state", "state" })))
    assert.equal(text, s.read(folder .. "/out.ndjson"))
  end)

  it("says which file cannot be read", function()
    local folder = s.folder()
    local code, _, err = s.moonweir("run", folder, COPY, { "--state", "state" })
    assert.equal(2, code)
    assert.matches("in.ndjson", err)
    assert.matches("No such file", err)
  end)
end)

describe("a file sink", function()
  after_each(s.clean)

  it("writes one file for each value of a field in its path", function()
    local folder = s.folder()
    s.write(
      folder .. "/in.ndjson",
      numbered(1, 30) .. '{"n":31,"country":"../x"}\n{"n":32,"country":".."}\n'
    )
    local code, _, err = s.moonweir(
      "run",
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.file("out", { path = "out/{country}.ndjson" })
      mw.rule("copy", { from = input }, function(e) out:send(e) end)
    ]],
      { "--state", "state" }
    )
    assert.equal(0, code, err)
    assert.equal(10, #s.lines(folder .. "/out/FR.ndjson"))
    assert.equal(20, #s.lines(folder .. "/out/DE.ndjson"))
    assert.equal(1, #s.lines(folder .. "/out/.._x.ndjson"))
  end)

  it("rotates by size and keeps as many files as it is told", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", numbered(1, 40000))
    local code, _, err = s.moonweir(
      "run",
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", block = "16KiB" })
      local out = mw.sink.file("out", { path = "out.ndjson", rotate = { size = "200KiB", keep = 3 } })
      mw.rule("copy", { from = input }, function(e) out:send(e) end)
    ]],
      { "--state", "state", "--shards", "1" }
    )
    assert.equal(0, code, err)
    assert.is_true(#s.lines(folder .. "/out.ndjson.1") > 1000)
    assert.is_true(#s.lines(folder .. "/out.ndjson.3") > 1000)
    assert.equal("", s.read(folder .. "/out.ndjson.4"))
    for _, name in ipairs { "out.ndjson.1", "out.ndjson.2", "out.ndjson.3" } do
      assert.equal("\n", s.read(folder .. "/" .. name):sub(-1))
    end
  end)

  for _, sync in ipairs { "always", "10ms" } do
    it("delivers with sync = " .. sync, function()
      local folder = s.folder()
      s.write(folder .. "/in.ndjson", numbered(1, 2000))
      local code, _, err = s.moonweir(
        "run",
        folder,
        ([[
        local mw = require "moonweir"
        local input = mw.source.file("input", { path = "in.ndjson", block = "4KiB" })
        local out = mw.sink.file("out", { path = "out.ndjson", sync = "%s" })
        mw.rule("copy", { from = input }, function(e) out:send(e) end)
      ]]):format(sync),
        { "--state", "state" }
      )
      assert.equal(0, code, err)
      assert.equal(numbered(1, 2000), s.read(folder .. "/out.ndjson"))
    end)
  end

  it("mends a line that a crash has torn", function()
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      mw.rule("copy", { from = input }, function(e) out:send(e) end)
    ]]
    s.write(folder .. "/in.ndjson", numbered(1, 3))
    s.moonweir("run", folder, flow, { "--state", "state" })
    s.append(folder .. "/out.ndjson", '{"n":4,"cou')
    s.append(folder .. "/in.ndjson", numbered(4, 4))
    local _, _, err = s.moonweir("run", folder, flow, { "--state", "state" })
    assert.equal(numbered(1, 4), s.read(folder .. "/out.ndjson"))
    assert.matches("ended inside a line", err)
  end)

  it("selects fields, and writes a template", function()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", '{"a":1,"b":{"c":"x"},"d":[1]}\n')
    local code, _, err = s.moonweir(
      "run",
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local only = mw.sink.file("only", { path = "only", only = { "a", "d" } })
      local without = mw.sink.file("without", { path = "without", without = "b" })
      local text = mw.sink.file("text", { path = "text", template = "{a} is {b.c}{{" })
      mw.rule("copy", { from = input }, function(e) only:send(e) without:send(e) text:send(e) end)
    ]],
      { "--state", "state" }
    )
    assert.equal(0, code, err)
    assert.equal('{"a":1,"d":[1]}\n', s.read(folder .. "/only"))
    assert.equal('{"a":1,"d":[1]}\n', s.read(folder .. "/without"))
    assert.equal("1 is x{\n", s.read(folder .. "/text"))
  end)
end)
