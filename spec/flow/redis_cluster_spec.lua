-- A Redis Cluster: commands go where their key is, and follow it when it moves.
local s = require "support"
local redis = require "redis_server"

describe("a Redis Cluster", function()
  after_each(s.clean)

  it("gets each key's commands at its node, while slots move and a node stops", function()
    local cluster = redis.cluster()
    local folder = s.folder()
    s.write(folder .. "/in.ndjson", "")
    local p = s.router(
      folder,
      [[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms" })
      local out = mw.sink.file("out", { path = "out.ndjson" })
      local p = mw.shared("p", { url = mw.env.REDIS, timeout = "300ms", on_failure = function(call, key, why) return why end })
      mw.rule("r", { from = input, by = "user" }, function(e)
        local n, same = mw.all(
          function() return p:increment(e.user, "n", 1) end,
          function() p:put("{" .. e.id .. "}x", "id", e.id) return p:get("{" .. e.id .. "}x", "id") end
        )
        out:send(e, { n = n, same = same })
      end)
    ]],
      { "--state", "state", "--shards", "2" },
      { env = { REDIS = cluster.url } }
    )
    local n = 0
    local function push(count)
      local lines = {}
      for i = 1, count do
        n = n + 1
        lines[i] = ('{"id":%d,"user":"u%d"}'):format(n, n % 40)
      end
      s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
      s.eventually(
        function() return #s.events(folder .. "/out.ndjson") == n end,
        20,
        "all are answered"
      )
    end
    push(400)
    local counts = {}
    for i = 1, 3 do
      counts[i] = tonumber(cluster.ask(i, "DBSIZE"))
      assert(counts[i] > 50, "keys at node " .. i)
    end
    assert.equal(440, counts[1] + counts[2] + counts[3])

    --- Slots move while events flow: a key that was at one node is at another.
    local moved = io.popen(
      ("redis-cli --cluster reshard 127.0.0.1:%d --cluster-from %s --cluster-to %s --cluster-slots 3000 --cluster-yes >/dev/null; echo $?"):format(
        cluster.ports[1],
        cluster.ask(1, "CLUSTER", "MYID"),
        cluster.ask(2, "CLUSTER", "MYID")
      )
    )
    for _ = 1, 20 do
      push(40)
      s.sleep(0.02)
    end
    assert.equal("0\n", moved:read "*a")
    moved:close()
    push(400)
    assert(tonumber(cluster.ask(2, "DBSIZE")) > counts[2] + 50, "keys moved")
    local each = {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      each[e.user] = (each[e.user] or 0) + 1
      assert.equal(each[e.user], e.n, "the count of " .. e.user)
      assert.equal(e.id, e.same)
    end

    cluster.processes[3]:kill(s.SIGKILL)
    cluster.processes[3]:wait()
    local before = n
    push(200)
    local good, bad = 0, 0
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      if e.id > before then
        if e.same == e.id then
          good = good + 1
        else
          assert.equal("string", type(e.same))
          bad = bad + 1
        end
      end
    end
    assert.equal(200, good + bad)
    assert(bad > 0, "one node is gone")
    assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
    p:kill()
    assert.equal(0, p:wait(10))
  end)
end)
