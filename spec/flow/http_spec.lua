local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  local input = mw.source.http("input", { listen = "127.0.0.1:0", path = "/events", OPTIONS })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  mw.rule("r", { from = input, KEY }, function(e)
    if e.fail then error("as told") end
    if e.meta then return mw.reply(e, mw.meta(e)) end
    out:send(e)
    if e.quiet then return end
    mw.reply(e, { n = e.n, twice = (e.n or 0) * 2 }, e.status)
    mw.reply(e, { second = true })
  end)
]]

local function start(options, key, arguments)
  local folder = s.folder()
  local p =
    s.router(folder, (FLOW:gsub("OPTIONS", options or ""):gsub("KEY", key or "")), arguments)
  local host, port = p:address "input"
  return {
    folder = folder,
    p = p,
    host = host,
    port = port,
    post = function(body, headers, path)
      return s.post(host, port, path or "/events", body, headers)
    end,
    stop = function()
      p:kill()
      assert.equal(0, p:wait(20), p:stderr())
    end,
  }
end

local function piped(program, text)
  local folder = s.folder()
  s.write(folder .. "/in", text)
  os.execute("( " .. program .. " ) < " .. folder .. "/in > " .. folder .. "/out")
  return s.read(folder .. "/out")
end

describe("an http source", function()
  after_each(s.clean)

  for _, key in ipairs { "", 'by = "k"' } do
    it("answers what the rule replied; the first reply counts (" .. key .. ")", function()
      local r = start("", key)
      local status, body, headers = r.post('{"n":21,"k":"x"}')
      assert.equal(200, status)
      assert.equal('{"n":21,"twice":42}', body)
      assert.equal("application/json", headers["content-type"])
      assert.equal('{"n":21,"k":"x"}\n', s.read(r.folder .. "/out.ndjson"))
      assert.equal(418, (r.post('{"n":1,"status":418}')))
      status, body = r.post '{"quiet":true}'
      assert.same({ 200, "{}" }, { status, body })
      r.stop()
    end)
  end

  it("answers a list or several lines with a result for each event, in their order", function()
    local r = start("", 'by = "k"')
    local status, body = r.post '[{"n":1,"k":1},{"n":2,"k":2},{"fail":true,"k":3},{"n":4,"k":4}]'
    assert.equal(200, status)
    assert.equal(
      '[{"n":1,"twice":2},{"n":2,"twice":4},{"error":"flow.lua:5: as told","dead_letter":true},{"n":4,"twice":8}]',
      body
    )
    status, body = r.post '{"n":1}\n{"n":2}\n'
    assert.same({ 200, '[{"n":1,"twice":2},{"n":2,"twice":4}]' }, { status, body })
    status, body = r.post '{"n":1}\n{"n":\n'
    assert.equal(200, status)
    assert.matches('^%[{"n":1,"twice":2},{"error":"not valid JSON', body)
    r.stop()
  end)

  it("answers 422 where the rule failed, and the event is a dead letter", function()
    local r = start()
    local status, body = r.post('{"fail":true}', { Authorization = "Bearer secret", ["X-Tenant"] = "t" })
    assert.equal(422, status)
    assert.matches("as told", body)
    r.stop()
    local letter = s.events(r.folder .. "/state/dead-letters.ndjson")[1]
    assert.same({ fail = true }, letter.event)
    assert.same({ "t", "(left out)" }, { letter.meta.headers["x-tenant"], letter.meta.headers.authorization })
  end)

  it("refuses what is not valid events with 400, what and where", function()
    local r = start()
    local status, body = r.post '{"a":1,}'
    assert.equal(400, status)
    assert.matches("at byte 7", body)
    assert.equal(400, (r.post ""))
    assert.equal(400, (r.post "   "))
    assert.equal(404, (r.post("{}", nil, "/nowhere")))
    assert.equal(405, (r.post(nil)))
    r.stop()
  end)

  it("lets rules read method, path, query, headers and peer", function()
    local r = start()
    local _, body = r.post('{"meta":true}', { ["X-Tenant"] = 'a"b' }, "/events?x=1&y=a%20b+c&z")
    local meta = s.json.decode(body)
    assert.same(
      { "POST", "/events", "input", 'a"b' },
      { meta.method, meta.path, meta.source, meta.headers["x-tenant"] }
    )
    assert.same({ x = "1", y = "a b c", z = "" }, meta.query)
    assert.matches("^127.0.0.1:%d+$", meta.peer)
    r.stop()
  end)

  it("keeps connections, answers pipelined requests in order, and reads chunked bodies", function()
    local r = start()
    local c = s.connect(r.host, r.port)
    assert.equal('{"n":1,"twice":2}', select(2, s.request(c, "POST", "/events", '{"n":1}')))
    local one = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
    local all = {}
    for n = 1, 50 do
      local body = ('{"n":%d}'):format(n)
      all[n] = n % 10 == 0 and "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" or one:format(#body, body)
    end
    c:send(table.concat(all))
    for n = 1, 50 do
      local status, body = s.read_answer(c)
      if n % 10 == 0 then
        assert.equal(404, status)
      else
        assert.equal(('{"n":%d,"twice":%d}'):format(n, 2 * n), body)
      end
    end
    c:send('POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"n"\r\n')
    s.sleep(0.02)
    c:send("3;x=y\r\n:7}\r\n0\r\n\r\n")
    assert.equal('{"n":7,"twice":14}', select(2, s.read_answer(c)))
    c:send(
      'POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 7\r\n\r\n{"n":8}'
    )
    local _, body, headers = s.read_answer(c)
    assert.same({ '{"n":8,"twice":16}', "close" }, { body, headers.connection })
    assert.is_nil((c:receive(1)))
    c:close()
    r.stop()
  end)

  it("sends 100 Continue when it is asked to", function()
    local r = start()
    local c = s.connect(r.host, r.port)
    c:send("POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n")
    assert.equal("HTTP/1.1 100 Continue", (c:receive "*l"))
    c:receive "*l"
    c:send('{"n":3}')
    assert.equal('{"n":3,"twice":6}', select(2, s.read_answer(c)))
    c:close()
    r.stop()
  end)

  it(
    "reads gzip and zstd bodies, and refuses damaged, truncated, unknown and exploding ones",
    function()
      local r = start 'max_body = "1MiB"'
      local text = '{"n":5}'
      for encoding, program in pairs { gzip = "gzip -c", zstd = "zstd -qc" } do
        local body = piped(program, text)
        assert.equal(
          '{"n":5,"twice":10}',
          select(2, r.post(body, { ["Content-Encoding"] = encoding }))
        )
        assert.equal(400, (r.post(body:sub(1, -4), { ["Content-Encoding"] = encoding })))
        assert.equal(400, (r.post("xxxxxxxxxxxxxxxx", { ["Content-Encoding"] = encoding })))
        local bomb = piped("head -c 50000000 /dev/zero | " .. program, "")
        assert.equal(413, (r.post(bomb, { ["Content-Encoding"] = encoding })))
      end
      assert.equal(415, (r.post(text, { ["Content-Encoding"] = "br" })))
      r.stop()
    end
  )

  it("limits the body, the head and the number of connections", function()
    local r =
      start("max_body = 1000, max_connections = 3", "", { "--shards", "1", "--state", "state" })
    assert.equal(413, (r.post('{"s":"' .. ("x"):rep(2000) .. '"}')))
    local c = s.connect(r.host, r.port)
    c:send("POST /events HTTP/1.1\r\n")
    for i = 1, 40 do
      if not c:send("X-" .. i .. ": " .. ("y"):rep(25000) .. "\r\n") then break end
    end
    local status = s.read_answer(c)
    assert.is_true(status == 431 or status == nil)
    c:close()
    local held = {}
    for i = 1, 3 do
      held[i] = s.connect(r.host, r.port)
    end
    s.sleep(0.05)
    assert.equal(503, (r.post '{"n":1}'))
    for i = 1, 3 do
      held[i]:close()
    end
    s.eventually(function() return r.post '{"n":1}' == 200 end)
    r.stop()
  end)

  it("answers 408 to a client that takes too long, and serves the others meanwhile", function()
    local r = start 'timeout = "1s"'
    local slow = s.connect(r.host, r.port)
    slow:send "POST /events HTTP/1.1\r\nHost: x\r\n"
    assert.equal(200, (r.post '{"n":1}'))
    assert.equal(408, (s.read_answer(slow)))
    slow:close()
    r.stop()
  end)

  it("does not let a request hide in another", function()
    local r = start()
    local function raw(text)
      local c = s.connect(r.host, r.port)
      c:send(text)
      local status = s.read_answer(c)
      c:close()
      return status
    end
    assert.equal(
      400,
      raw "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert.equal(
      400,
      raw 'POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n{"n":1} '
    )
    assert.equal(400, raw 'POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{"n":1}')
    assert.equal(
      400,
      raw "POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    )
    assert.equal(400, raw "NONSENSE\r\n\r\n")
    r.stop()
  end)

  it("goes on when a client goes away in the middle", function()
    local r = start()
    for _ = 1, 20 do
      local c = s.connect(r.host, r.port)
      c:send 'POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"n"'
      c:close()
      c = s.connect(r.host, r.port)
      c:send 'POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{"n":9}'
      c:close()
    end
    assert.equal(200, (r.post '{"n":1}'))
    r.stop()
  end)

  it("answers 202 at once where `accepted` is enough, and when decided where that is", function()
    local r = start 'acknowledge = "accepted"'
    assert.equal(202, (r.post '{"n":1}'))
    s.eventually(function() return s.read(r.folder .. "/out.ndjson") == '{"n":1}\n' end)
    r.stop()
    for _, key in ipairs { "", 'by = "k"' } do
      r = start('acknowledge = "decided"', key)
      for n = 1, 20 do
        assert.equal(
          ('{"n":%d,"twice":%d}'):format(n, n * 2),
          select(2, r.post(('{"n":%d,"k":%d}'):format(n, n)))
        )
      end
      r.stop()
      assert.equal(20, #s.lines(r.folder .. "/out.ndjson"))
    end
  end)

  it("refuses a port that another program has", function()
    local r = start()
    local folder = s.folder()
    local flow =
      FLOW:gsub("127.0.0.1:0", r.host .. ":" .. r.port):gsub("OPTIONS", ""):gsub("KEY", "")
    local code, _, err = s.moonweir("run", folder, flow, { "--state", "state" })
    assert.equal(2, code)
    assert.matches("another program has the port", err)
    r.stop()
  end)

  it("answers 429 with Retry-After while its sink cannot deliver, and loses nothing", function()
    local folder = s.folder()
    local free = s.free_port()
    local p = s.router(
      folder,
      ([[
      local mw = require "moonweir"
      local input = mw.source.http("input", { listen = "127.0.0.1:0", acknowledge = "accepted", in_flight = "256KiB" })
      local out = mw.sink.tcp("out", { connect = "127.0.0.1:%d", queue = "32KiB" })
      mw.rule("r", { from = input }, function(e) out:send(e) end)
    ]]):format(free),
      { "--shards", "1", "--state", "state" }
    )
    local host, port = p:address "input"
    local body, accepted, refused = '{"s":"' .. ("x"):rep(1000) .. '"}', 0, nil
    for _ = 1, 200 do
      local status, _, headers = s.post(host, port, "/", body)
      if status == 202 then
        accepted = accepted + 1
      else
        refused = { status, headers["retry-after"] }
      end
    end
    assert.same({ 429, "1" }, refused)
    assert.is_true(accepted > 10 and accepted < 100)
    local server = assert(require "socket".bind("127.0.0.1", free))
    server:settimeout(20)
    local c = assert(server:accept())
    c:settimeout(10)
    for _ = 1, accepted do
      assert.equal(body, (c:receive "*l"))
    end
    p:kill()
    assert.equal(0, p:wait(20))
    assert.is_nil((c:receive "*l"))
  end)
end)
