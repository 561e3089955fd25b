-- Windows: adding and reading against the same in Lua tables; W3 (count and sum over a minute of event time by user, told of
-- when more than five) against a C program written for it; checkpoints; memory a key.
local m = require "measure"
local s = require "support"

os.execute(
  ("cc -O2 -D_GNU_SOURCE -I%s/core -I%s/core/include -o %s/window %s/spec/bench/window.c -L%s -lmoonweir_c -Wl,-rpath,%s"):format(
    s.root,
    s.root,
    m.folder,
    s.root,
    s.build,
    s.build
  )
)
os.execute(("cc -O2 -o %s/w3_limit %s/spec/bench/w3_limit.c"):format(m.folder, s.root))

local function numbers(argv)
  local code, out, err = s.run(argv, nil, 300)
  assert(code == 0, err)
  local list = {}
  for n in out:gmatch "%S+" do
    list[#list + 1] = tonumber(n)
  end
  return list
end

local function median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

--- The same window in Lua: buckets of count and sum a key, in tables by key.
s.write(
  m.folder .. "/tables.lua",
  [[
  local keys, rounds, panes = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
  local names, windows = {}, {}
  for i = 1, keys do names[i] = ("u%09d"):format(i) end
  local seed = 88172645463325252 % 2147483647
  local function random() seed = seed * 16807 % 2147483647 return seed % keys + 1 end
  local function add(key, x, pane)
    local w = windows[key]
    if not w then
      w = { at = {}, n = {}, t = {} }
      windows[key] = w
    end
    local slot = pane % (panes + 1) + 1
    if w.at[slot] ~= pane then w.at[slot], w.n[slot], w.t[slot] = pane, 0, 0 end
    w.n[slot], w.t[slot] = w.n[slot] + 1, w.t[slot] + x
    local n, t = 0, 0
    for i = 1, panes + 1 do
      local at = w.at[i]
      if at and at > pane - panes then n, t = n + w.n[i], t + w.t[i] end
    end
    return n, t
  end
  for i = 1, keys do add(names[i], 1, 100) end
  local sum, began = 0, os.clock()
  for i = 1, rounds * 1024 do
    local n, t = add(names[random()], i, 100)
    sum = sum + n + t
  end
  print(("%.1f %g"):format((os.clock() - began) / (rounds * 1024) * 1e9, sum > 0 and 1 or 0))
]]
)

m.title "adding to a window of count and sum and reading it, a key a text in the event's bytes"
for _, shape in ipairs { { "tumbling", 1 }, { "sliding, six panes", 6 } } do
  for _, case in ipairs { { 1000000, 1500 }, { 1000, 6000 } } do
    local ours, theirs, bytes = {}, {}, nil
    for i = 1, m.rounds do
      local kind = shape[1] == "tumbling" and "tumbling" or nil
      local r = numbers { m.folder .. "/window", tostring(case[1]), tostring(case[2]), kind }
      ours[i], bytes = r[1], r[2]
      theirs[i] = numbers({
        "luajit",
        m.folder .. "/tables.lua",
        tostring(case[1]),
        tostring(math.floor(case[2] / 3)),
        tostring(shape[2]),
      })[1]
    end
    m.line(
      "%-19s %8d keys   %6.0f ns an event   Lua tables %6.0f ns: %.1f x   (%d bytes a key)",
      shape[1],
      case[1],
      median(ours),
      median(theirs),
      median(theirs) / median(ours),
      bytes
    )
  end
end

m.title "memory: ten million keys of count and sum over a minute"
do
  for _, keys in ipairs { 100000, 1000000, 10000000 } do
    local r = numbers { m.folder .. "/window", tostring(keys), "10000", "tumbling" }
    m.line(
      "%8d keys: %.0f bytes a key (%.0f resident, %.2f GiB in all); %3.0f ns an event; the slowest of a thousand batches of 1024: %.0f us while keys are added, %.0f us after",
      keys,
      r[2],
      r[3],
      r[3] * keys / 2 ^ 30,
      r[1],
      r[4],
      r[5]
    )
  end
end

m.title "a checkpoint of a million changed keys"
local names = { "whole", "step", "written", "few", "few_written" }
local took = { whole = {}, step = {}, written = {}, few = {}, few_written = {} }
for i = 1, m.rounds do
  local folder = m.folder .. "/checkpoint" -- in memory where there is room: the disk is not what is measured
  local r = numbers { m.folder .. "/window", "1000000", "1", "checkpoint", folder }
  for n, name in ipairs(names) do
    took[name][i] = r[n]
  end
  os.execute("rm -rf " .. folder)
end
for name, list in pairs(took) do
  took[name] = median(list)
end
m.line(
  "handed over in %.0f ms, the longest step %.2f ms, written beside the flow in %.0f ms; ten thousand of a million changed: %.1f and %.1f ms (%.0f x less)",
  took.whole,
  took.step,
  took.written,
  took.few,
  took.few_written,
  (took.whole + took.written) / (took.few + took.few_written)
)

m.title "W3: 2 M payments of 200 k users, a minute of event time, up to 5 s out of order, told of when more than 5"
local input = m.folder .. "/w3.ndjson"
do
  math.randomseed(1)
  local file = assert(io.open(input, "w"))
  for i = 1, m.events do
    file:write(
      ('{"id":"p%08d","user":"u%06d","amount":%.2f,"country":"FR","ts":%d}\n'):format(
        i,
        math.random(200000),
        math.random(1, 50000) / 100,
        1700000000000 + math.floor(i / 2000 * 300) - math.random(0, 4999)
      )
    )
  end
  file:close()
end
local OUT = m.folder .. "/w3"
local function clear() os.execute(("rm -rf %s && mkdir %s"):format(OUT, OUT)) end

--- What each has told of, by user and window.
local function told(path)
  local found = {}
  local pipe = io.popen(("find %s -type f -exec cat {} +"):format(path))
  for line in pipe:lines() do
    local e = s.json.decode(line)
    found[e.key .. "@" .. e.start] = { e.n, e.total }
  end
  pipe:close()
  return found
end

local function compare(ours, theirs, who)
  local count = 0
  for id, a in pairs(ours) do
    local b = theirs[id]
    assert(b and b[1] == a[1] and math.abs(b[2] - a[2]) < 0.02, who .. " differs at " .. id)
    count = count + 1
  end
  for id in pairs(theirs) do
    assert(ours[id], who .. " has " .. id)
  end
  return count
end

local function router(path)
  local flow = ([[
    local mw = require "moonweir"
    local src = mw.source.file("in", { path = "%s", time = "ts", lateness = "5s" })
    local out = mw.sink.file("out", { path = "%s/ours" })
    local w = mw.window("w", { by = "user", span = "60s", keep = { n = mw.count(), total = mw.sum("amount") } })
    mw.rule("r", { from = src, by = "user" }, function(e) w:add(e) end)
    w:on_close(function(r) if r.n > 5 then out:send(r) end end)
  ]]):format(path, OUT)
  return function()
    clear()
    local result = m.moonweir(flow, 1)
    s.clean()
    return result
  end
end

local r = m.in_turn {
  function()
    clear()
    return m.run { m.folder .. "/w3_limit", input, OUT .. "/c" }
  end,
  router(input),
}
m.line("C, for this alone   %6.0f ns/event", m.figure(r[1], "wall") / m.events * 1e9)
m.line(
  "moonweir, 1 shard   %6.0f ns/event   %.2f x the C program   %d KiB",
  m.figure(r[2], "wall") / m.events * 1e9,
  m.ratio(r[2], r[1], "wall"),
  m.figure(r[2], "kib")
)

--- Beside another, on its events: once each in turn, the same told.
local peers = s.root .. "/build/peers"
local function beside(name, script, events, argv, env, rounds)
  os.execute("mkdir -p " .. peers)
  if os.execute(("sh %s/spec/bench/peers/%s.sh %s"):format(s.root, script, peers)) ~= 0 then
    print(name .. " could not be set up here: left out")
    return
  end
  local path = m.folder .. "/w3-part.ndjson"
  os.execute(("head -n %d %s > %s"):format(events, input, path))
  local ours, same
  local both = m.in_turn({
    function()
      local result = router(path)()
      ours = told(OUT .. "/ours")
      return result
    end,
    function()
      clear()
      local all = { INPUT = path, OUTPUT = OUT .. "/theirs" }
      for k, v in pairs(env) do
        all[k] = v
      end
      local result = m.run(argv(path), { env = all })
      if result.code ~= 0 then error(name .. " failed: " .. result.err:sub(1, 2000)) end
      same = compare(ours, told(OUT .. "/theirs"), name)
      return result
    end,
  }, rounds)
  m.line("%-19s %6.0f ns/event   %d MiB   moonweir is %.1f x as fast (%d events, start included, the same %d results)", name,
    m.figure(both[2], "wall") / events * 1e9, m.figure(both[2], "kib") / 1024, m.ratio(both[2], both[1], "wall"), events, same)
end

beside("Flink 1.20, 1 slot", "flink", m.events, function(path)
  return { "java", "-Xmx2g", "-cp", ("%s/flink/classes:%s/flink/jars/*"):format(peers, peers), "W3", path, OUT .. "/theirs" }
end, {}, 3)
beside("Bytewax 0.21", "bytewax", math.floor(m.events / 5), function()
  return { peers .. "/bytewax/bin/python", "-m", "bytewax.run", "bytewax_w3" }
end, { PYTHONPATH = s.root .. "/spec/bench/peers" }, 1)
os.execute("rm -f " .. m.folder .. "/w3*.ndjson")
