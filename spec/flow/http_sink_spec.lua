local s = require "support"
local socket = require "socket"

--- A server that answers each request by what `answer(n, request)` returns: a status and more
--- header lines.
local function serve(server, count, answer)
  local requests = {}
  server:settimeout(20)
  local c
  for n = 1, count do
    local line
    repeat
      if not c then
        c = assert(server:accept())
        c:settimeout(20)
      end
      line = c:receive "*l"
      if not line then
        c:close()
        c = nil
      end
    until line
    local headers = {}
    for header in
      function()
        local l = c:receive "*l"
        return l ~= "" and l or nil
      end
    do
      local k, v = header:match "^([^:]+):%s*(.*)$"
      headers[k:lower()] = v
    end
    local body = c:receive(tonumber(headers["content-length"]))
    requests[n] = { line = line, headers = headers, body = body, at = socket.gettime() }
    local status, more = answer(n, requests[n])
    if status then
      c:send(("HTTP/1.1 %d X\r\nContent-Length: 0\r\n%s\r\n"):format(status, more or ""))
    else
      c:close()
      c = nil
    end
  end
  if c then c:close() end
  return requests
end

local function flow(port, options)
  return ([[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson" })
    local out = mw.sink.http("out", { url = "http://127.0.0.1:%d/in", %s })
    mw.rule("r", { from = input }, function(e) out:send(e) end)
  ]]):format(port, options or "")
end

describe("an http sink", function()
  local server, port, folder
  before_each(function()
    server = assert(socket.bind("127.0.0.1", 0))
    port = select(2, server:getsockname())
    folder = s.folder()
  end)
  after_each(function()
    server:close()
    s.clean()
  end)

  local function start(lines, options)
    s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    return s.start(
      s.command("run", folder, flow(port, options), { "--state", "state", "--shards", "1" }),
      { cwd = folder }
    )
  end

  it("posts an event a request, with the headers it is given and a key of its own", function()
    local p = start(
      { '{"n":1}', '{"n":2}' },
      'concurrency = 1, method = "PUT", headers = { ["X-Key"] = "secret" }'
    )
    local got = serve(server, 2, function() return 200 end)
    assert.equal(0, p:wait(20))
    assert.same(
      { "PUT /in HTTP/1.1", '{"n":1}', '{"n":2}' },
      { got[1].line, got[1].body, got[2].body }
    )
    assert.same(
      { "secret", "application/json" },
      { got[1].headers["x-key"], got[1].headers["content-type"] }
    )
    assert.is_not.equal(got[1].headers["idempotency-key"], got[2].headers["idempotency-key"])
  end)

  it("puts several into a request, compressed where it is told", function()
    local lines = {}
    for n = 1, 25 do
      lines[n] = ('{"n":%d}'):format(n)
    end
    local p =
      start(lines, 'concurrency = 1, batch = { count = 10, after = "50ms" }, compress = "gzip"')
    local got = serve(server, 3, function() return 204 end)
    assert.equal(0, p:wait(20))
    assert.same(
      { "gzip", "application/x-ndjson" },
      { got[1].headers["content-encoding"], got[1].headers["content-type"] }
    )
    local all = ""
    for _, r in ipairs(got) do
      s.write(folder .. "/body.gz", r.body)
      os.execute(("gzip -dc %s/body.gz > %s/body"):format(folder, folder))
      all = all .. s.read(folder .. "/body")
    end
    assert.equal(table.concat(lines, "\n") .. "\n", all)
  end)

  it(
    "tries again with the same key after 5xx, 429 and a broken connection, as Retry-After says",
    function()
      local p = start(
        { '{"n":1}', '{"n":2}' },
        'concurrency = 1, retry = { first = "20ms", most = "100ms" }'
      )
      local got = serve(server, 5, function(n)
        if n == 1 then return 503 end
        if n == 2 then return 429, "Retry-After: 1\r\n" end
        if n == 3 then return nil end
        return 200
      end)
      assert.equal(0, p:wait(20))
      for n = 1, 4 do
        assert.equal('{"n":1}', got[n].body)
        assert.equal(got[1].headers["idempotency-key"], got[n].headers["idempotency-key"])
      end
      assert.equal('{"n":2}', got[5].body)
      assert.is_true(got[3].at - got[2].at > 0.9)
    end
  )

  it("keeps what the receiver refuses for good in the dead letters", function()
    local p = start({ '{"n":1}', '{"n":2}', '{"n":3}' }, "concurrency = 1")
    serve(server, 3, function(n) return n == 2 and 400 or 200 end)
    assert.equal(0, p:wait(20))
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.same(
      { 1, { n = 2 }, "sink", "out" },
      { #dead, dead[1].event, dead[1].stage, dead[1].name }
    )
    assert.matches("status 400", dead[1].error)
  end)

  it("has the same key for an event after a restart", function()
    s.write(folder .. "/in.ndjson", '{"n":1}\n')
    local keys = {}
    for i = 1, 2 do
      local p = s.start(
        s.command(
          "run",
          folder,
          flow(port),
          { "--state", "state", "--shards", "1", "--no-supervisor" }
        ),
        { cwd = folder }
      )
      keys[i] = serve(server, 1, function()
        if i == 1 then
          p:kill(s.SIGKILL)
          p:wait()
          return nil
        end
        return 200
      end)[1].headers["idempotency-key"]
      p:wait(20)
    end
    assert.equal(keys[1], keys[2])
  end)

  it("refuses a url that is none", function()
    s.write(folder .. "/in.ndjson", "{}\n")
    local code, _, err =
      s.moonweir("run", folder, (flow(port):gsub("http://", "ftp://")), { "--state", "state" })
    assert.equal(2, code)
    assert.matches("flow.lua:3", err)
    assert.matches("must begin with http", err)
  end)
end)
