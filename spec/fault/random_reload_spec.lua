-- Flows that differ in everything but what they mean, one after the other, while events flow: each event comes out once.
local s = require "support"

local function pick(...)
  local list = { ... }
  return list[math.random(#list)]
end

--- A random flow that sends each event of in.ndjson to one of its file sinks.
local function flow()
  local t = { 'local mw = require "moonweir"' }
  local function add(text, ...) t[#t + 1] = select("#", ...) > 0 and text:format(...) or text end
  add('local input = mw.source.file("input", { path = "in.ndjson", follow = true, poll = "5ms", block = "%dKiB" })', pick(4, 4, 4, 16, 64))
  local sinks = {}
  for _, name in ipairs { "a", "b", "c", "d" } do
    if #sinks == 0 or math.random(2) == 1 then
      sinks[#sinks + 1] = name
      add('local %s = mw.sink.file("%s", { path = "out-%s.ndjson", queue = "%dKiB", sync = "%s" })', name, name, name, pick(64, 1024, 16384), pick("never", "always", "5ms"))
    end
  end
  local by = pick("", ', by = "k"', ', by = { "k", "j" }', ", by = function(e) return e.j end")
  local list = table.concat(sinks, ", ")
  local shape = math.random(4)
  if shape == 1 then
    add('mw.rule("route", { from = input%s }, function(e) ({ %s })[e.n %% %d + 1]:send(e) end)', by, list, #sinks)
  elseif shape == 2 then
    add 'local between = mw.channel("between")'
    add('mw.rule("first", { from = input%s }, function(e) between:send(e, { seen = true }) end)', by)
    add('mw.rule("route", { from = between%s }, function(e) ({ %s })[e.n %% %d + 1]:send(e) end)', pick("", ', by = "j"'), list, #sinks)
  elseif shape == 3 then
    add('mw.rule("odd", { from = input, by = "k" }, function(e) if e.n %% 2 == 1 then ({ %s })[e.n %% %d + 1]:send(e) end end)', list, #sinks)
    add('mw.rule("even", { from = input, by = "j" }, function(e) if e.n %% 2 == 0 then ({ %s })[e.n %% %d + 1]:send(e) end end)', list, #sinks)
  else
    for i = 1, 6 do
      add('mw.rule("r%d", { from = input%s, when = { m = %d } }, function(e) %s:send(e) end)', i, by, i - 1, sinks[(i - 1) % #sinks + 1])
    end
  end
  if math.random(3) == 1 then add('mw.rule("trial", { from = input%s, shadow = true }, function(e) %s:send(e) end)', by, sinks[1]) end
  if math.random(3) == 1 then add 'mw.capture("kept", { from = input, keep = "1MiB" })' end
  add(("-- %d"):format(math.random(1e9)))
  return table.concat(t, "\n") .. "\n"
end

describe("reloads to other flows", function()
  after_each(s.clean)

  for _, shards in ipairs { "1", "2", "3" } do
    it("deliver each event once (" .. shards .. " shards; seed printed where they do not)", function()
      local seed = os.time() + tonumber(shards)
      math.randomseed(seed)
      local folder = s.folder()
      s.write(folder .. "/in.ndjson", "")
      local text = flow()
      local p = s.router(folder, text, { "--shards", shards, "--state", "state", "--admin", "127.0.0.1:0", "--probation", "0", "--no-watch" })
      local address = ("%s:%d"):format(p:address "admin")
      local n = 0
      for _ = 1, 40 do
        local lines = {}
        for _ = 1, math.random(400) do
          n = n + 1
          lines[#lines + 1] = ('{"n":%d,"k":%d,"j":%d,"m":%d}\n'):format(n, n % 13, n % 7, n % 6)
        end
        s.append(folder .. "/in.ndjson", table.concat(lines))
        text = flow()
        s.write(folder .. "/flow.lua", text)
        local code, _, err = s.run { s.program, "reload", address }
        assert.equal(0, code, ("seed %d: %s\n%s"):format(seed, err, text))
      end
      local function outputs()
        local seen, count = {}, 0
        for line in io.popen("cat " .. folder .. "/out-*.ndjson"):lines() do
          local number = tonumber(line:match '"n":(%d+)')
          seen[number] = (seen[number] or 0) + 1
          count = count + 1
        end
        return seen, count
      end
      s.eventually(function() return select(2, outputs()) >= n end, 20, function()
        return ("seed %d: %d of %d came out\n%s\n%s"):format(seed, select(2, outputs()), n, p:stderr():sub(-1500), text)
      end)
      p:kill()
      assert.equal(0, p:wait(20), p:stderr():sub(-1500))
      local seen, count = outputs()
      assert.equal(n, count, "seed " .. seed)
      for i = 1, n do
        assert.equal(1, seen[i], ("seed %d: event %d"):format(seed, i))
      end
      assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
    end)
  end
end)
