-- States that are larger than the memory they may take: against a plain table, through kill -9, other
-- numbers of shards and reloads, with no more memory than was said.
local s = require "support"

local FLOW = [[
  local mw = require "moonweir"
  mw.flow { checkpoint = "40ms" }
  local input = mw.source.file("input", { path = "in.ndjson", time = "at", block = "16KiB", follow = true, poll = "5ms" })
  local out = mw.sink.file("out", { path = "out.ndjson" })
  local st = mw.state("st", { memory = "%s" })
  local short = mw.state("short", { memory = "%s", ttl = "60s" })
  mw.rule("r", { from = input, by = "k" }, function(e)
    local answer
    if e.op == "walk" then
      local records, sum, twice, seen = 0, 0, 0, {}
      for key, record in st:each() do
        records, sum = records + 1, sum + (record.n or 0)
        twice, seen[key] = twice + (seen[key] or 0), 1
      end
      answer = { records, sum, twice }
    elseif e.op == "increment" then
      answer = st:increment(e.k, "n", 1)
      short:increment(e.k, "n", 1)
    elseif e.op == "put" then
      st:put(e.k, "text", e.text)
      answer = short:get(e.k, "n")
    elseif e.op == "delete" then
      answer = st:delete(e.k)
      short:delete(e.k)
    else
      answer = { st:get(e.k, "n") or mw.null, st:get(e.k, "text") or mw.null, short:get(e.k, "n") or mw.null }
    end
    out:send { id = e.id, answer = answer }
  end)
]]

local TTL = 60
local null = s.json.null

--- What the rule should say, from a plain table; and the event.
local function play(model, id, keys, at)
  local k = "key-" .. math.random(keys)
  local record = model.all[k]
  local short = model.short[k]
  if short and short.last + TTL <= at then short = nil end
  local dice, op, answer, text = math.random(10), "get"
  if dice <= 5 then
    op, record = "increment", record or {}
    record.n = (record.n or 0) + 1
    short = { n = (short and short.n or 0) + 1, last = at }
    answer = record.n
  elseif dice <= 7 then
    op, record, text = "put", record or {}, ("x"):rep(math.random(0, 120)) .. id
    record.text = text
    answer = short and short.n
  elseif dice == 8 then
    op, answer, record, short = "delete", record ~= nil, nil, nil
  else
    answer = { record and record.n or null, record and record.text or null, short and short.n or null }
  end
  model.all[k], model.short[k] = record, short
  return s.json.encode { id = id, k = k, op = op, text = text, at = at }, answer
end

local function start(folder, memory, shards)
  return s.router(folder, FLOW:format(memory, memory), { "--state", "state", "--shards", shards, "--no-supervisor", "--admin", "127.0.0.1:0" })
end

local function check(folder, answers, note)
  local seen = {}
  for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
    if answers[e.id] == "walk" then
      seen[e.id] = e.answer
    else
      assert.same(answers[e.id] == nil and "nothing" or answers[e.id], e.answer == nil and "nothing" or e.answer, note .. ", event " .. e.id)
      seen[e.id] = true
    end
  end
  return seen
end

describe("states with a limit of memory", function()
  after_each(s.clean)

  it("hold what a table would, through kill -9 and other numbers of shards", function()
    local seed = tonumber(os.getenv "MOONWEIR_SEED") or os.time()
    local note = "seed " .. seed
    math.randomseed(seed)
    local folder = s.folder()
    local model, answers, id, metrics = { all = {}, short = {} }, {}, 0, nil
    s.write(folder .. "/in.ndjson", "")
    for round = 1, 12 do
      local p = start(folder, round == 9 and "0B" or "128KiB", tostring(math.random(1, 3)))
      local lines = {}
      for i = 1, 8000 do
        id = id + 1
        lines[i], answers[id] = play(model, id, 12000, 1700000000 + math.floor(id / 200))
      end
      s.append(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
      if round % 3 == 0 or round == 8 then
        s.eventually(function()
          local last = s.lines(folder .. "/out.ndjson")
          return #last > 0 and s.json.decode(last[#last]).id >= id - 200
        end, 30, "events are done, " .. note)
        local host, port = p:address "admin"
        if round ~= 9 then
          s.eventually(function()
            metrics = select(2, s.post(host, port, "/metrics"))
            local cold = tonumber(metrics:match 'moonweir_state_cold_keys{sort="state",name="st"} (%d+)')
            local bytes = tonumber(metrics:match 'moonweir_state_bytes{sort="state",name="st"} (%d+)')
            return cold > 5000 and bytes < 1300000 -- pages of 64 KiB for each size of key and shard
          end, 10, "memory is let go of, " .. note)
        end
        p:kill()
        assert.equal(0, p:wait(10), p:stderr())
      else
        s.sleep(math.random() * 0.4)
        p:kill(s.SIGKILL)
        p:wait(10)
      end
    end
    check(folder, answers, note)
    local p = start(folder, "128KiB", "1")
    id = id + 1
    answers[id] = "walk"
    s.append(folder .. "/in.ndjson", s.json.encode { id = id, k = "w", op = "walk", at = 1700000000 + id } .. "\n")
    local seen
    s.eventually(function()
      seen = check(folder, answers, note)
      return seen[id]
    end, 30, "the walk ends, " .. note)
    p:kill()
    assert.equal(0, p:wait(10), p:stderr())
    for i = 1, id do
      assert(seen[i], note .. ": nothing was said of event " .. i)
    end
    local records, sum = 0, 0
    for _, record in pairs(model.all) do
      records, sum = records + 1, sum + (record.n or 0)
    end
    assert.same({ records, sum, 0 }, seen[id], note)
  end)

  it("are there again after a rollback, and after the limit has changed", function()
    local folder = s.folder()
    local lines, walks = {}, 0
    for i = 1, 6000 do
      lines[i] = s.json.encode { id = i, k = "key" .. i, op = "increment", at = 1700000000 }
    end
    s.write(folder .. "/in.ndjson", table.concat(lines, "\n") .. "\n")
    local p = start(folder, "64KiB", "1")
    local host, port = p:address "admin"
    local function cold()
      local metrics = select(2, s.post(host, port, "/metrics"))
      return tonumber(metrics:match 'moonweir_state_cold_keys{sort="state",name="st"} (%d+)')
    end
    local function walk(want)
      walks = walks + 1
      local id = 10000 + walks
      s.append(folder .. "/in.ndjson", s.json.encode { id = id, k = "w", op = "walk", at = 1700000000 } .. "\n")
      local answer
      s.eventually(function()
        local last = s.lines(folder .. "/out.ndjson")
        last = s.json.decode(last[#last])
        answer = last.answer
        return last.id == id
      end)
      assert.same({ want, want, 0 }, answer)
    end
    local function reload(text, path)
      if text then s.write(folder .. "/flow.lua", text) end
      local status, body = s.post(host, port, path or "/reload", "")
      assert.equal(200, status, body)
    end
    local flow = FLOW:format("64KiB", "64KiB")
    s.eventually(function() return cold() > 5000 end, 10, "records are let go of")
    walk(6000)
    reload((flow:gsub('"st", { memory', '"st", { ttl = "1d", memory')))
    walk(0)
    local checkpoints = "moonweir_checkpoints_total (%d+)"
    local function count() return tonumber(select(2, s.post(host, port, "/metrics")):match(checkpoints)) end
    local before = count()
    s.append(folder .. "/in.ndjson", s.json.encode { id = 9000, k = "new", op = "increment", at = 1700000000 } .. "\n")
    s.eventually(function() return count() > before end, 10, "the other declaration is in the store")
    reload(nil, "/rollback")
    walk(6000)
    s.eventually(function() return cold() > 5000 end, 10, "records are let go of again")
    walk(6000)
    reload((FLOW:format("0B", "64KiB")))
    s.eventually(function() return cold() == 0 end, 5, "all are in memory")
    walk(6000)
    reload(flow)
    s.append(folder .. "/in.ndjson", s.json.encode { id = 9001, k = "key1", op = "increment", at = 1700000000 } .. "\n")
    s.eventually(function() return cold() > 5000 end, 10, "the limit holds again")
    p:kill()
    assert.equal(0, p:wait(10), p:stderr())
    s.write(folder .. "/flow.lua", flow)
    local code, out = s.run({ s.program, "state", folder .. "/state", "list" }, { cwd = folder })
    assert.equal(0, code)
    assert(out:find('"name":"state/st","keys":6000', 1, true), out)
  end)
end)
