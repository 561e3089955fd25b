local s = require "support"
local socket = require "socket"

local function copy(source, options)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.%s("input", { %s })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    mw.rule("r", { from = input }, function(e) out:send(e) end)
  ]]):format(source, options or "")
end

local function delivered(folder, text)
  s.eventually(
    function() return s.read(folder .. "/out.ndjson") == text end,
    10,
    function() return s.read(folder .. "/out.ndjson") end
  )
end

describe("standard input and output", function()
  after_each(s.clean)

  local FLOW = [[
    local mw = require "moonweir"
    local input = mw.source.stdin("input", {})
    local out = mw.sink.stdout("out", {})
    mw.rule("r", { from = input }, function(e) if e.n ~= 2 then out:send(e, { seen = true }) end end)
  ]]
  local TEXT = '{"n":1}\n{"n":2}\n{"n":3}'
  local WANT = '{"n":1,"seen":true}\n{"n":3,"seen":true}\n'

  it("work with files", function()
    local folder = s.folder()
    s.write(folder .. "/in", TEXT)
    local code, out, err = s.moonweir("run", folder, FLOW, {}, { stdin = folder .. "/in" })
    assert.same({ 0, WANT }, { code, out }, err)
  end)

  it("work with pipes", function()
    local folder = s.folder()
    s.write(folder .. "/in", TEXT)
    s.write(folder .. "/flow.lua", FLOW)
    local code, out = s.run {
      "sh",
      "-c",
      ("cd %s && cat in | %s run flow.lua --quiet | cat"):format(folder, s.program),
    }
    assert.same({ 0, WANT }, { code, out })
  end)

  it("end with an error, not silently, when the reader of the output goes away", function()
    local folder = s.folder()
    s.write(folder .. "/flow.lua", (FLOW:gsub('stdin%("input", {}%)', 'generate("input", {})')))
    local code, _, err = s.run(
      {
        "sh",
        "-c",
        ("cd %s && (%s run flow.lua --quiet; echo code $? >&2) | head -n 5 > /dev/null"):format(
          folder,
          s.program
        ),
      },
      nil,
      20
    )
    assert.equal(0, code)
    assert.matches("closed by its reader", err)
    assert.matches("code 1", err)
  end)

  it("pass an event on at once", function()
    local folder = s.folder()
    s.write(folder .. "/flow.lua", FLOW)
    s.posix.mkfifo(folder .. "/in")
    s.posix.mkfifo(folder .. "/out")
    local p = s.start({
      "sh",
      "-c",
      ("cd %s && exec %s run flow.lua < in > out"):format(folder, s.program),
    })
    local to = assert(io.open(folder .. "/in", "w"))
    local from = assert(io.open(folder .. "/out", "r"))
    for _, n in ipairs { 1, 3, 4 } do
      to:write(('{"n":%d}\n'):format(n))
      to:flush()
      assert.equal(('{"n":%d,"seen":true}'):format(n), from:read "*l")
    end
    to:close()
    assert.equal(0, p:wait())
  end)
end)

describe("a tcp or unix source", function()
  after_each(s.clean)

  for _, kind in ipairs { "tcp", "unix" } do
    local function open(folder, format, more)
      local options = (kind == "tcp" and 'listen = "127.0.0.1:0"' or 'path = "in.sock"')
        .. (', format = "%s"'):format(format)
        .. (more or "")
      local p = s.router(folder, copy(kind, options))
      local function connect()
        if kind == "tcp" then return s.connect(p:address "input") end
        local c = require "socket.unix"()
        assert(c:connect(folder .. "/in.sock"))
        return c
      end
      return p, connect
    end

    it(
      kind .. " takes lines in pieces, several connections, and a last line without its end",
      function()
        local folder = s.folder()
        local p, connect = open(folder, "ndjson")
        local a, b = connect(), connect()
        a:send '{"n":'
        b:send '{"m":1}\n'
        delivered(folder, '{"m":1}\n')
        a:send '1}\n{"n":2}'
        delivered(folder, '{"m":1}\n{"n":1}\n')
        a:close()
        delivered(folder, '{"m":1}\n{"n":1}\n{"n":2}\n')
        b:close()
        p:kill()
        assert.equal(0, p:wait(10))
      end
    )

    it(kind .. " keeps the half of an event that its end leaves in the dead letters", function()
      local folder = s.folder()
      local p, connect = open(folder, "lines")
      local a = connect()
      a:send "whole\nhal"
      delivered(folder, '{"line":"whole"}\n')
      local late = connect() -- nobody may have read it when the end comes
      late:send "late\n"
      late:close()
      p:kill()
      assert.equal(0, p:wait(10))
      assert.equal('{"line":"whole"}\n{"line":"late"}\n', s.read(folder .. "/out.ndjson"))
      local dead = s.events(folder .. "/state/dead-letters.ndjson")
      assert.same({ 1, "hal", "source", 6 }, { #dead, dead[1].raw, dead[1].stage, dead[1].position })
      assert.matches("the source ended in the middle of an event", dead[1].error)
      a:close()
    end)

    if kind == "tcp" then
      it("tcp keeps the half of an event that a broken connection leaves in the dead letters", function()
        local folder = s.folder()
        local p, connect = open(folder, "lines")
        local c = connect()
        c:send "whole\nhal"
        delivered(folder, '{"line":"whole"}\n')
        c:setoption("linger", { on = true, timeout = 0 })
        c:close()
        local dead
        s.eventually(function()
          dead = s.events(folder .. "/state/dead-letters.ndjson")[1]
          return dead
        end)
        assert.same({ "hal", "source" }, { dead.raw, dead.stage })
        assert.matches("broke off in the middle of an event", dead.error)
        p:kill()
        assert.equal(0, p:wait(10))
      end)
    end

    it(
      kind
        .. " takes length-prefixed and octet-counted frames, and drops a connection that lost its framing",
      function()
        local folder = s.folder()
        local p, connect = open(folder, "length-prefixed")
        local c = connect()
        c:send("\0\0\0\7" .. '{"n":1}' .. "\0\0\0\7" .. '{"n"')
        c:send ":2}\255\255\255\255xx"
        delivered(folder, '{"n":1}\n{"n":2}\n')
        c:settimeout(5)
        assert.is_nil((c:receive(1)))
        p:kill()
        p:wait(10)
        assert.matches(
          "a frame of 4294967295 bytes",
          s.events(folder .. "/state/dead-letters.ndjson")[1].error
        )
        folder = s.folder()
        p, connect = open(folder, "syslog")
        c = connect()
        local message = "<34>1 2003-10-11T22:14:15.003Z host app - ID47 - line\none"
        c:send(#message .. " " .. message .. "5 <1>hi")
        s.eventually(function() return #s.lines(folder .. "/out.ndjson") == 2 end)
        local first, second = unpack(s.events(folder .. "/out.ndjson"))
        assert.same(
          { 4, 2, "host", "app", "ID47", "line\none" },
          {
            first.facility,
            first.severity,
            first.hostname,
            first.app_name,
            first.msg_id,
            first.message,
          }
        )
        assert.same({ 0, 1, "hi" }, { second.facility, second.severity, second.message })
        p:kill()
        assert.equal(0, p:wait(10))
      end
    )
  end

  it("closes idle connections", function()
    local folder = s.folder()
    local p = s.router(folder, copy("tcp", 'listen = "127.0.0.1:0", timeout = "300ms"'))
    local c = s.connect(p:address "input")
    c:settimeout(5)
    assert.is_nil((c:receive(1)))
    p:kill()
    p:wait(10)
  end)

  it("replaces a socket file that a crash left, and no other file", function()
    local folder = s.folder()
    local p =
      s.router(folder, copy("unix", 'path = "in.sock"'), { "--no-supervisor", "--state", "state" })
    p:kill(s.SIGKILL)
    p:wait()
    p = s.router(folder, copy("unix", 'path = "in.sock"'))
    p:kill()
    p:wait()
    s.write(folder .. "/file", "precious")
    local code, _, err =
      s.moonweir("run", folder, copy("unix", 'path = "file"'), { "--state", "state" })
    assert.equal(2, code)
    assert.matches("is no socket", err)
    assert.equal("precious", s.read(folder .. "/file"))
  end)
end)

describe("a udp source", function()
  after_each(s.clean)

  it(
    "takes datagrams, with and without line breaks, and reads what was sent before the end",
    function()
      local folder = s.folder()
      local p = s.router(folder, copy("udp", 'listen = "127.0.0.1:0"'))
      local host, port = p:address "input"
      local c = socket.udp()
      c:setpeername(host, port)
      for n = 1, 500 do
        c:send(('{"n":%d}'):format(n) .. (n % 2 == 0 and "\n" or ""))
      end
      c:send '{"n":501}\n{"n":502}'
      p:kill()
      assert.equal(0, p:wait(10))
      local seen = 0
      for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
        seen = seen + e.n
      end
      assert.equal(502 * 503 / 2, seen)
    end
  )
end)

describe("a tcp or unix sink", function()
  after_each(s.clean)

  local FLOW = [[
    local mw = require "moonweir"
    local input = mw.source.generate("input", { count = 3000, rate = 3000 })
    local out = mw.sink.tcp("out", { connect = "127.0.0.1:%d" })
    mw.rule("r", { from = input }, function(e) out:send(e) end)
  ]]

  it("connects again and again until it can, and sends what was not taken again", function()
    local folder = s.folder()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:settimeout(20)
    local p = s.router(folder, FLOW:format(port))
    local seen, count = {}, 0
    local function take(c, most)
      c:settimeout(20)
      while most > 0 do
        local line = c:receive "*l"
        if not line then return end
        local id = line:match '"id":"(p%d+)"'
        if not seen[id] then
          seen[id], count = true, count + 1
        end
        most = most - 1
      end
    end
    local c = assert(server:accept())
    take(c, 500)
    c:setoption("linger", { on = true, timeout = 0 })
    c:close() -- with a reset
    c = assert(server:accept())
    take(c, 1e9)
    assert.equal(0, p:wait(20))
    assert.is_true(count > 2000)
    assert.matches("is broken", p:stderr())
  end)

  it("writes to a unix socket", function()
    local folder = s.folder()
    local server = require "socket.unix"()
    assert(server:bind(folder .. "/out.sock"))
    assert(server:listen(1))
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.generate("input", { count = 100 })
      local out = mw.sink.unix("out", { path = "out.sock", format = "lines", template = "{id}" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]
    )
    local c = assert(server:accept())
    c:settimeout(10)
    for n = 0, 99 do
      assert.equal(("p%09d"):format(n), (c:receive "*l"))
    end
    assert.equal(0, p:wait(10))
    c:close()
  end)
end)

describe("a udp sink", function()
  after_each(s.clean)

  it("sends a datagram an event, and keeps what is too large for one", function()
    local folder = s.folder()
    local server = socket.udp()
    server:setsockname("127.0.0.1", 0)
    server:settimeout(10)
    local _, port = server:getsockname()
    s.write(folder .. "/in.ndjson", '{"n":1}\n{"s":"' .. ("x"):rep(70000) .. '"}\n{"n":2}\n')
    local code = s.moonweir(
      "run",
      folder,
      ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson" })
      local out = mw.sink.udp("out", { connect = "127.0.0.1:%d" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(port),
      { "--state", "state" }
    )
    assert.equal(0, code)
    assert.equal('{"n":1}\n', (server:receive()))
    assert.equal('{"n":2}\n', (server:receive()))
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.same({ 1, "sink", "out" }, { #dead, dead[1].stage, dead[1].name })
    assert.equal(70000, #dead[1].event.s)
  end)
end)

describe("formats", function()
  after_each(s.clean)

  local function through(format, text, output_format, more)
    local folder = s.folder()
    s.write(folder .. "/in", text)
    local code, _, err = s.moonweir(
      "run",
      folder,
      ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in", format = "%s" })
      local out = mw.sink.file("out", { path = "out", format = "%s" %s })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(format, output_format, more or ""),
      { "--state", "state", "--shards", "1" }
    )
    assert.equal(0, code, err)
    return s.read(folder .. "/out")
  end

  it("lines leave as they came, whatever their bytes", function()
    local text = 'one\n\n\255\254 two\tthree\r\n"four"\n'
    assert.equal(text, through("lines", text, "lines"))
    assert.equal(
      '{"line":"a\\"b"}\n{"line":""}\n{"line":"c"}\n',
      through("lines", 'a"b\n\nc\r\n', "ndjson")
    )
  end)

  it("csv has a header, quotes, and line breaks in quotes", function()
    local text = 'name,note,"a ""b"""\nx,"1,2",3\n"y\nz",,\n\nq\n'
    assert.equal(
      '{"name":"x","note":"1,2","a \\"b\\"":"3"}\n{"name":"y\\nz","note":"","a \\"b\\"":""}\n{"name":"q"}\n',
      through("csv", text, "ndjson")
    )
    assert.equal('x,"1,2",3\n"y\nz",,\nq\n', through("csv", text, "csv"))
    assert.equal(
      '"1,2",x\n',
      through("ndjson", '{"name":"x","note":"1,2"}\n', "csv", ', columns = { "note", "name" }')
    )
  end)

  it("csv agrees with csv-spectrum", function()
    local folder, count = s.root .. "/spec/data/csv_spectrum", 0
    for path in io.popen("ls " .. folder .. "/csvs/*.csv"):lines() do
      local want = s.json.decode(s.read(folder .. "/json/" .. path:match "([^/]+)%.csv$" .. ".json"))
      local got = {}
      for line in through("csv", s.read(path), "ndjson"):gmatch "[^\n]+" do got[#got + 1] = s.json.decode(line) end
      assert.same(want, got, path)
      count = count + 1
    end
    assert.is_true(count > 8)
  end)

  it("csv keeps the header of events in flight while its file is truncated and begun anew", function()
    local folder = s.folder()
    local port = s.free_port()
    s.write(folder .. "/in.csv", "a,b\n1,2\n11,22\n")
    local p = s.router(folder, ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.csv", format = "csv", follow = true, poll = "20ms" })
      local out = mw.sink.tcp("out", { connect = "127.0.0.1:%d" })
      mw.rule("r", { from = input }, function(e)
        out:send(e)
        mw.log.info("sent " .. tostring(e.b))
      end)
    ]]):format(port))
    s.eventually(function() return p:stderr():find "sent 22" end)
    s.write(folder .. "/in.csv", "x,y\n3,4\n")
    s.eventually(function() return p:stderr():find "was truncated" end)
    local server = assert(socket.bind("127.0.0.1", port))
    server:settimeout(20)
    local c = assert(server:accept())
    c:settimeout(10)
    for _, want in ipairs { '{"a":"1","b":"2"}', '{"a":"11","b":"22"}', '{"x":"3","y":"4"}' } do
      assert.equal(want, (c:receive "*l"))
    end
    p:kill()
    assert.equal(0, p:wait(10))
    c:close()
    server:close()
  end)

  it("csv remembers its header when it goes on in the middle", function()
    local folder = s.folder()
    local flow = [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.csv", format = "csv" })
      local out = mw.sink.file("out", { path = "out" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]
    s.write(folder .. "/in.csv", "a,b\n1,2\n")
    s.moonweir("run", folder, flow, { "--state", "state" })
    s.append(folder .. "/in.csv", "3,4\n")
    s.moonweir("run", folder, flow, { "--state", "state" })
    assert.equal('{"a":"1","b":"2"}\n{"a":"3","b":"4"}\n', s.read(folder .. "/out"))
  end)

  it("length-prefixed frames are read and written", function()
    local text = "\0\0\0\7" .. '{"n":1}' .. "\0\0\0\9" .. '{ "n":2 }'
    assert.equal(text, through("length-prefixed", text, "length-prefixed"))
    assert.equal('{"n":1}\n{ "n":2 }\n', through("length-prefixed", text, "ndjson"))
  end)

  it("syslog of both kinds is read, written, and never refused", function()
    local text = "<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed\n"
      .. '<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [ex@32473 iut="3" n="a\\"b"][x] \239\187\191hello\nplain line\n'
    local out = {}
    for line in through("syslog", text, "ndjson"):gmatch "[^\n]+" do
      out[#out + 1] = s.json.decode(line)
    end
    assert.same(
      {
        facility = 4,
        severity = 2,
        timestamp = "Oct 11 22:14:15",
        hostname = "mymachine",
        app_name = "su",
        proc_id = "12",
        message = "'su root' failed",
      },
      out[1]
    )
    assert.same({ ["ex@32473"] = { iut = "3", n = 'a"b' }, x = {} }, out[2].structured_data)
    assert.equal("hello", out[2].message)
    assert.same({ message = "plain line" }, out[3])
    assert.equal(text, through("syslog", text, "syslog"))
    assert.equal(
      "<14>1 - h a - - - hi\n",
      through("ndjson", '{"hostname":"h","app_name":"a","message":"hi"}\n', "syslog")
    )
  end)

  it(
    "a document or an array of them is json",
    function()
      assert.equal(
        '{"a": 1,  "b":[2]}\n{"c":3}\n',
        through("json", '[ {"a": 1,\n "b":[2]} ,{"c":3}]\n', "ndjson")
      )
    end
  )

  it("what cannot be parsed is in the dead letters, whole", function()
    local folder = s.folder()
    local bad = {
      '{"a":1',
      "nonsense",
      '{"a":"\255"}',
      '{"a":01}',
      '{"a":1}x',
      "\0\0",
      ("["):rep(10000) .. ("]"):rep(10000),
    }
    s.write(folder .. "/in.ndjson", '{"n":1}\n' .. table.concat(bad, "\n") .. '\n{"n":2}\n')
    local code =
      s.moonweir("run", folder, (copy("file", 'path = "in.ndjson"')), { "--state", "state" })
    assert.equal(0, code)
    assert.equal('{"n":1}\n{"n":2}\n', s.read(folder .. "/out.ndjson"))
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(#bad, #dead)
    for i, letter in ipairs(dead) do
      assert.matches("not valid JSON", letter.error)
      local raw = letter.raw or require "mime".unb64(letter.raw_base64)
      assert.equal(bad[i], raw)
    end
  end)
end)
