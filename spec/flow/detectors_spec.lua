--- moonweir detect and mw.detector.
local s = require "support"
local nab = require "nab"
local python = require "python"

local function detect(input, ...)
  local path = s.write(s.folder() .. "/series", input)
  local code, out, err = s.run({ s.program, "detect", ... }, { stdin = path }, 20)
  local list = {}
  for line in out:gmatch "[^\n]+" do
    list[#list + 1] = tonumber(line)
  end
  return list, code, err
end

--- The same numbers on every machine.
local function noise(seed)
  local x = seed
  return function()
    local sum = 0
    for _ = 1, 12 do
      x = (x * 16807) % 2147483647
      sum = sum + x / 2147483647
    end
    return sum - 6
  end
end

local function series(count, value)
  local lines, random = { "value" }, noise(7)
  for n = 1, count do
    lines[n + 1] = ("%.9g"):format(value(n, random()))
  end
  return table.concat(lines, "\n") .. "\n"
end

local function greatest(list, from, to)
  local at = from
  for n = from, to do
    if list[n] > list[at] then at = n end
  end
  return list[at], at
end

describe("the default detector", function()
  after_each(s.clean)

  it("scores better on Numenta's benchmark than Numenta's own", function()
    local all = nab.series(nab.folder)
    if not all then return pending "the series are not here" end
    if not s.build:find "release$" then return pending "once is enough, and it takes long" end
    local anomalies = {}
    for i, one in ipairs(all) do
      local code, out, err = s.run({ s.program, "detect", "--time", "timestamp", "--value", "value" }, { stdin = one.path }, 20)
      assert.equal(0, code, err)
      anomalies[i] = {}
      for line in out:gmatch "[^\n]+" do
        table.insert(anomalies[i], tonumber(line))
      end
      assert.equal(one.count, #anomalies[i])
    end
    local score, threshold = nab.score(all, anomalies)
    print(("      (NAB %.1f at %.3f, over %d series)"):format(score, threshold, #all))
    assert.is_true(score > 70.1, "NAB " .. score)
  end)

  it("scores 0 on it when it says nothing, and 100 when it is perfect", function()
    local one = { count = 1000, windows = { { 300, 399 }, { 700, 749 } } }
    local silent, perfect, early = {}, {}, {}
    for n = 1, 1000 do
      silent[n], perfect[n], early[n] = 0, (n == 300 or n == 700) and 1 or 0, (n == 500 or n == 300 or n == 700) and 1 or 0
    end
    assert.is_true(math.abs(nab.score({ one }, { perfect }) - 100) < 1e-9)
    local some = nab.score({ one }, { early })
    assert.is_true(some > 97 and some < 98) -- one false detection: 0.11 of 4
    assert.equal(0, (nab.score({ one }, { silent }))) -- everything as a detection is worse than nothing
  end)

  it("finds a spike, a shift and a change of the day, and says it once", function()
    local spikes = detect(series(3000, function(_, z) return 10 + z end), "--kind", "auto")
    assert.is_true((greatest(spikes, 500, 3000)) < 0.5)
    local spike = detect(series(3000, function(n, z) return n == 2000 and 40 or 10 + z end))
    local most, at = greatest(spike, 500, 3000)
    assert.equal(2000, at)
    assert.is_true(most > 0.99)
    local shift = detect(series(3000, function(n, z) return (n >= 2000 and 18 or 10) + z end))
    local alarms = 0
    for n = 500, 3000 do
      if shift[n] >= 0.5 then
        alarms = alarms + 1
        assert.is_true(n >= 2000 and (n < 2020 or n > 2150), n)
      end
    end
    assert.is_true(alarms >= 1 and alarms <= 3, alarms)
    -- the afternoon of the 12th day is missing: no value is extreme
    local lines, random = { "at,value" }, noise(3)
    for n = 0, 288 * 14 - 1 do
      local hour = n / 12 % 24
      local day = math.floor(n / 288)
      local high = hour >= 9 and hour < 18 and not (day == 11 and hour >= 9)
      lines[#lines + 1] = ("%d,%.6g"):format(1700006400 + n * 300, (high and 80 or 20) + random())
    end
    local days = detect(table.concat(lines, "\n") .. "\n", "--time", "at")
    local _, when = greatest(days, 288 * 5, #days)
    assert.equal(11, math.floor((when - 1) / 288))
  end)
end)

describe("moonweir detect", function()
  after_each(s.clean)

  it("reads csv and ndjson, times of every kind, and passes over what is missing", function()
    local csv = detect("t,value\n2024-01-01 00:00:00,1\n2024-01-01 00:05:00,2\n2024-01-01 00:10:00,\n", "--time", "t")
    assert.same({ 0, 0, 0 }, csv)
    local json = detect('{"t":1700000000,"x":1}\n{"t":"2024-01-01T00:00:00Z","x":null}\n{"t":1700000600000,"x":2.5}\n', "--time", "t", "--value", "x")
    assert.same({ 0, 0, 0 }, json)
  end)

  it("says what is wrong, and where", function()
    for input, want in pairs {
      ["value\n1\nx\n"] = "stdin: point 2: 'value' is no number %(x%)",
      ["other\n1\n"] = "stdin: point 1 has no 'value'",
      ['{"value":"red"}\n'] = "stdin: point 1: 'value' is no number",
      ['{"value":1}\n{"value":\n'] = "stdin: point 2 is no valid record",
    } do
      local _, code, err = detect(input)
      assert.equal(1, code)
      assert.matches(want, err)
    end
    local _, code, err = detect("t,value\nlater,1\n", "--time", "t")
    assert.equal(1, code)
    assert.matches("point 1: 't' is no time that is known %(later%)", err)
    _, code, err = detect("value\n", "--kind", "magic")
    assert.equal(2, code)
    assert.matches("there is no kind of detector 'magic'", err)
    for _, kind in ipairs { "rate", "silence" } do
      _, code, err = detect("value\n1\n", "--kind", kind)
      assert.equal(2, code)
      assert.matches("the detector '" .. kind .. "' is about times: --time says which field has them", err, 1, true)
    end
    _, code, err = detect("value\n", "--kind", "ewma", "--set", "alhpa=1")
    assert.equal(2, code)
    assert.matches("the detector 'ewma' has no option 'alhpa'", err)
    for text, want in pairs { ["alpha=x"] = "alpha=x", ["alpha=1x"] = "alpha=1x", alpha = "alpha", ["alpha="] = "alpha=" } do
      _, code, err = detect("value\n", "--kind", "ewma", "--set", text)
      assert.equal(2, code)
      assert.matches("--set wants alpha=NUMBER, not '" .. want .. "'", err, 1, true)
    end
    _, code, err = detect("value\n", "--kind", "ewma", "--set", "alpha=2")
    assert.equal(2, code)
    assert.matches("'alpha' is from 1e%-06 to 1, not 2", err)
  end)

  it("judges as reference implementations of the papers do", function()
    local folder = python.made "detectors"
    for line in io.lines(folder .. "/cases.ndjson") do
      local case = s.json.decode(line)
      local argv = { "--kind", case.kind }
      if case.settings ~= "" then
        argv[3], argv[4] = "--set", case.settings
      end
      if case.kind == "silence" then
        argv[#argv + 1], argv[#argv + 2] = "--time", "value"
      end
      local got, code, err = detect(s.read(folder .. "/" .. case.name .. ".series"), unpack(argv))
      assert.equal(0, code, err)
      local n = 0
      for want in io.lines(folder .. "/" .. case.name .. ".expected") do
        n = n + 1
        assert(math.abs(got[n] - tonumber(want)) <= case.within, ("%s, point %d: %g, not %s"):format(case.name, n, got[n], want))
      end
      assert.equal(n, #got)
    end
  end)

  it("judges the time between points, whatever their values", function()
    local lines, at = { "at" }, 1700000000
    for n = 1, 300 do
      at = at + 10 + n % 3 - (n == 250 and 9.5 or 0) + (n == 200 and 300 or 0)
      lines[n + 1] = ("%.1f"):format(at)
    end
    local got, code, err = detect(table.concat(lines, "\n") .. "\n", "--kind", "rate", "--time", "at")
    assert.equal(0, code, err)
    assert.equal(300, #got)
    assert.is_true(got[200] > 0.999 and got[250] > 0.9)
    for n = 1, 190 do
      assert.is_true(got[n] < 0.98, n)
    end
  end)

  it("judges by mean and deviation, median, season, and change, as their papers say", function()
    local function gaussian(z) -- the reference: by numeric integration of the density
      local sum, steps = 0, 2000
      for i = 0, steps - 1 do
        local x = (i + 0.5) / steps * z
        sum = sum + math.exp(-x * x / 2)
      end
      return sum / steps * z * 2 / math.sqrt(2 * math.pi)
    end
    local random, values = noise(11), {}
    for n = 1, 300 do
      values[n] = tonumber(("%.9g"):format(5 + random() + (n == 200 and 4 or 0) + (n > 250 and 3 or 0)))
    end
    local input = "value\n" .. table.concat(values, "\n") .. "\n"
    local ewma = detect(input, "--kind", "ewma", "--set", "alpha=0.1,warm=20")
    local mean, variance = values[1], 0
    for n = 2, 300 do
      local far = values[n] - mean
      local want = n > 20 and gaussian(math.min(math.abs(far) / math.sqrt(variance), 9)) or 0
      assert.is_true(math.abs(ewma[n] - want) < 1e-5, n)
      mean, variance = mean + 0.1 * far, 0.9 * (variance + 0.1 * far * far)
    end
    local robust = detect(input, "--kind", "robust-z", "--set", "window=25")
    local function median(list)
      table.sort(list)
      return list[13]
    end
    for n = 26, 300 do
      local last, deviations = {}, {}
      for i = n - 25, n - 1 do
        last[#last + 1] = values[i]
      end
      local middle = median(last)
      for i = n - 25, n - 1 do
        deviations[#deviations + 1] = math.abs(values[i] - middle)
      end
      local want = gaussian(math.min(0.6745 * math.abs(values[n] - middle) / median(deviations), 9))
      assert.is_true(math.abs(robust[n] - want) < 1e-5, n)
    end
    local change = detect(input, "--kind", "page-hinkley")
    local _, at = greatest(change, 1, 300)
    assert.is_true(change[at] >= 0.5 and at > 250 and at < 265, at)
    local seasonal = {}
    for n = 1, 600 do
      seasonal[n] = ("%.9g"):format(n % 24 + n % 7 * 5 + n * 0.01 + (n == 500 and 3 or 0))
    end
    local winters = detect("value\n" .. table.concat(seasonal, "\n") .. "\n", "--kind", "holt-winters", "--set", "seasons=24+7")
    _, at = greatest(winters, 400, 505)
    assert.equal(500, at)
    assert.is_true(winters[500] > 0.99)
  end)
end)

describe("mw.detector", function()
  after_each(s.clean)

  local FLOW = [[
    local mw = require "moonweir"
    local input = mw.source.file("input", { path = "in.ndjson", time = "ts", follow = true })
    local out = mw.sink.file("out", { path = "out.ndjson" })
    local odd = mw.detector("odd", { by = { "site", "device" }, value = "r.temp" })
    local all = mw.detector("all", { value = "r.temp", kind = "ewma", warm = 10 })
    mw.rule("r", { from = input, by = %s }, function(e)
      local a = odd:score(e).anomaly
      out:send(e, { a = a, all = all:score { r = { temp = e.r.temp } }.anomaly > 0 })
    end)
  ]]

  local function event(n, device)
    return ('{"site":"s","device":"d%d","ts":%d,"n":%d,"r":{"temp":%.6g}}\n'):format(device, 1700000000 + n * 60, n, n == 900 and 99 or 20 + n % 7)
  end

  local function anomalies(folder)
    local by = {}
    for _, e in ipairs(s.events(folder .. "/out.ndjson")) do
      by[e.device .. "/" .. e.n] = e.a
    end
    return by
  end

  for _, shards in ipairs { 1, 2 } do
    it("judges by key, and knows after a kill -9 what it had learned, on " .. shards .. " shards", function()
      local whole = s.folder()
      local flow = FLOW:format(shards == 1 and "nil" or '{ "site", "device" }')
      local lines = {}
      for n = 1, 1000 do
        lines[#lines + 1] = event(n, 1) .. event(n, 2)
      end
      s.write(whole .. "/in.ndjson", table.concat(lines))
      local code, _, err = s.moonweir("run", whole, flow, { "--once", "--quiet", "--shards", tostring(shards) })
      assert.equal(0, code, err)
      local want = anomalies(whole)
      assert.is_true(want["d1/900"] > 0.9 and want["d2/900"] > 0.9)
      assert.equal(0, want["d1/899"])

      local folder = s.folder()
      s.write(folder .. "/in.ndjson", table.concat(lines, "", 1, 600))
      local arguments = { "--shards", tostring(shards), "--no-watch", "--no-supervisor", "--state", "state" }
      local once = 'mw.flow { delivery = "exactly-once", checkpoint = "50ms" }\n    local input'
      local p = s.router(folder, (flow:gsub("local input", once, 1)), arguments)
      s.eventually(function() return #s.events(folder .. "/out.ndjson") == 1200 end)
      s.sleep(0.3)
      p:kill(s.SIGKILL)
      p:wait()
      s.append(folder .. "/in.ndjson", table.concat(lines, "", 601))
      p = s.router(folder, (flow:gsub("local input", once, 1)), arguments)
      s.eventually(function() return #s.events(folder .. "/out.ndjson") == 2000 end)
      p:kill()
      assert.equal(0, p:wait(10))
      assert.same(want, anomalies(folder))
    end)
  end

  --- Beats of two machines, of which the second misses three, and a rule that hears them.
  local SILENCE = [[
    local mw = require "moonweir"
    local input = mw.source.%s
    local out = mw.sink.file("out", { path = "out.ndjson" })
    local beat = mw.detector("beat", { by = %s, kind = "silence", warm = 5%s })
    beat:on_silence(function(s) out:send(s) end)
    mw.rule("r", { from = input, by = %s }, function(e)
      local a = beat:score(e).anomaly
      if a >= 0.5 then out:send { again = e.device } end
    end)
  ]]

  for by, key in pairs { ['"device"'] = "d2", ['{ "site", "device" }'] = { "s", "d2" } } do
    for _, shards in ipairs { 1, 2 } do
      it("says who is silent, once, by " .. by .. " on " .. shards .. " shards", function()
        local folder, lines = s.folder(), {}
        for n = 1, 60 do
          local line = '{"site":"s","device":"%s","ts":%.3f}\n'
          lines[#lines + 1] = line:format("d1", 1700000000 + 10 * n + n % 3 * 0.1)
          if n <= 40 or n > 43 then lines[#lines + 1] = line:format("d2", 1700000005 + 10 * n) end
        end
        s.write(folder .. "/in.ndjson", table.concat(lines))
        local flow = SILENCE:format('file("input", { path = "in.ndjson", time = "ts" })', by, "", by)
        local code, _, err = s.moonweir("run", folder, flow, { "--once", "--quiet", "--shards", tostring(shards) })
        assert.equal(0, code, err)
        local said = s.events(folder .. "/out.ndjson")
        assert.equal(2, #said)
        assert.same(key, said[1].key)
        assert.is_true(math.abs(said[1].last - 1700000405) < 0.001)
        assert.is_true(said[1].patience > 19 and said[1].patience < 25) -- a beat is missed: twice the usual gap
        assert.same({ again = "d2" }, said[2])
      end)
    end
  end

  it("says by the clock who is silent when nobody speaks, after a kill -9 too", function()
    local folder = s.folder()
    local flow = SILENCE:format('file("input", { path = "in.ndjson", follow = true, poll = "5ms" })', '"device"', ', time = "clock"', '"device"')
    s.write(folder .. "/in.ndjson", "")
    local arguments = { "--no-watch", "--no-supervisor", "--state", "state" }
    flow = 'require("moonweir").flow { checkpoint = "50ms" }\n' .. flow
    local p = s.router(folder, flow, arguments)
    for _ = 1, 8 do
      s.append(folder .. "/in.ndjson", '{"device":"d1"}\n')
      s.sleep(0.3)
    end
    p:kill(s.SIGKILL)
    p:wait()
    s.write(folder .. "/out.ndjson", "") -- it may have said so already, on a slow machine
    s.append(folder .. "/in.ndjson", '{"device":"d1"}\n')
    p = s.router(folder, flow, arguments)
    s.eventually(function()
      local said = s.events(folder .. "/out.ndjson")
      return said[#said] and said[#said].key == "d1"
    end)
    p:kill()
    assert.equal(0, p:wait(10))
  end)

  it("refuses what is wrong, at its declaration and in a rule", function()
    local head = 'local mw = require "moonweir"\nlocal input = mw.source.stdin("input", {})\n'
    for text, want in pairs {
      ['mw.detector("d", { kind = "atuo" })'] = "flow.lua:3: detector 'd': there is no kind 'atuo'; did you mean 'auto'%?",
      ['mw.detector("d", { alpha = 1 })'] = "flow.lua:3: detector 'd': the kind 'auto' has no option 'alpha'",
      ['mw.detector("d", { kind = "ewma", alpha = 5 })'] = "flow.lua:3: detector 'd': 'alpha' is from 1e%-06 to 1, not 5",
      ['mw.detector("d", { time = "clock" })'] = "flow.lua:3: detector 'd': the kind 'auto' has no option 'time'",
      ['mw.detector("d", {}):on_silence(print)'] = "flow.lua:3: detector 'd': on_silence is of the kind 'silence'",
      ['mw.timer("d.silence", print)\nmw.detector("d", { kind = "silence" }):on_silence(print)'] = "flow.lua:4: there is a timer 'd.silence' already",
      ['mw.detector("d", { kind = "silence", time = "now" })'] = "'time' cannot be 'now'",
      ['mw.detector("d", { kind = "holt-winters", seasons = { 1.5 } })'] = "'seasons' are whole numbers of points",
    } do
      local code, _, err = s.moonweir("check", s.folder(), head .. text .. '\nmw.rule("r", { from = input }, function() end)\n')
      assert.equal(2, code)
      assert.matches(want, err)
    end
    local folder = s.folder()
    s.write(folder .. "/in", '{"k":1,"v":"red"}\n{"v":1}\n{"k":2,"v":null}\n{"k":2}\n')
    local code = s.moonweir(
      "run",
      folder,
      head .. 'local d = mw.detector("d", { by = "k", value = "v" })\nmw.rule("r", { from = input }, function(e) d:score(e) end)\n',
      { "--quiet", "--shards", "1", "--state", "state" },
      { stdin = folder .. "/in" }
    )
    assert.equal(0, code)
    local dead = s.events(folder .. "/state/dead-letters.ndjson")
    assert.equal(2, #dead)
    assert.matches("detector 'd': 'v' is no number", dead[1].error)
    assert.matches("detector 'd': the key 'k' is missing", dead[2].error)
  end)
end)
