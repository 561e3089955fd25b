-- Models beside their trainers and compilers, in a rule, and detectors: spec/bench/scoring/.
local m = require "measure"
local s = require "support"
local python = require "python"

local here = s.root .. "/spec/bench/scoring/"
local interpreter = python.ready(here .. "requirements.txt", "python-bench")
local folder = s.folder()

local function must(argv, seconds)
  local code, out, err = s.run(argv, nil, seconds)
  assert(code == 0, argv[1] .. ": " .. out .. err)
  return out
end

must({ interpreter, here .. "prepare.py", folder }, 300)
local build = s.root .. "/build/release"
must({
  "cc",
  "-O2",
  "-D_GNU_SOURCE",
  "-I" .. s.root .. "/core",
  here .. "peers.c",
  "-o",
  folder .. "/peers",
  build .. "/libmoonweir_c.so",
  "-Wl,-rpath," .. build,
  "-ldl",
  "-lm",
}, 60)

local function library(package, file)
  local print_path = ("import importlib.util as u, os; print(os.path.dirname(u.find_spec('%s').origin))"):format(package)
  return must({ interpreter, "-c", print_path }, 30):match "[^\n]+" .. "/lib/" .. file
end

local out = must({ folder .. "/peers", folder, library("lightgbm", "lib_lightgbm.so"), library("xgboost", "libxgboost.so") }, 300)
  .. must({ interpreter, here .. "onnx_peer.py", folder }, 300)

local figures = { xgb = {}, lgb = {} }
for model, who, single, batch in out:gmatch "(%l+) (%w+) ([%d%.]+) ([%d%.]+)" do
  table.insert(figures[model], { who = who, single = tonumber(single), batch = tonumber(batch) })
end
for _, case in ipairs { { "xgb", "100 trees of depth 6 (XGBoost)" }, { "lgb", "500 trees of 31 leaves (LightGBM)" } } do
  m.title(case[2] .. ", 30 features, one thread, microseconds a row")
  local own = figures[case[1]][1]
  for _, f in ipairs(figures[case[1]]) do
    m.line(
      "%-12s one row %8.2f   in batches of 1,000 %8.2f   moonweir: %5.1f x, %5.1f x as fast",
      f.who,
      f.single / 1000,
      f.batch / 1000,
      f.single / own.single,
      f.batch / own.batch
    )
  end
end

-- in a rule: a flow without the model, one that declares it (its fields are projected), one that scores with it
m.title "model:score(e) in a rule, over JSON events of 30 numbers, one shard"
local events, count = folder .. "/events.ndjson", 200000
must({
  interpreter,
  "-c",
  ([[
import numpy as np
rows = np.fromfile("%s/rows.f64").reshape(-1, 30)
with open("%s", "w") as f:
    for i in range(%d):
        f.write("{" + ",".join('"f%%d":%%.6g' %% (j, v) for j, v in enumerate(rows[i %% len(rows)])) + "}\n")
]]):format(folder, events, count),
}, 120)

local function flow(file, features, scored)
  return function()
    return m.moonweir(
      ([[
      local mw = require "moonweir"
      local input = mw.source.file("input", { path = "%s" })
      local out = mw.sink.discard("out", {})
      %s
      mw.rule("r", { from = input }, function(e) %s end)
    ]]):format(
        events,
        file and ('local m = mw.model("m", { file = "%s/%s"%s })'):format(folder, file, features) or "",
        scored and "if m:score(e) > 2 then out:send(e) end" or ""
      ),
      1
    )
  end
end

local columns = {}
for j = 0, 29 do
  columns[#columns + 1] = ("Column_%d = 'f%d'"):format(j, j)
end
for _, case in ipairs {
  { "xgb", "xgb.json", "" },
  { "lgb", "lgb.txt", ", features = { " .. table.concat(columns, ", ") .. " }" },
} do
  local r = m.in_turn({ flow(), flow(case[2], case[3]), flow(case[2], case[3], true) }, 5)
  local function ns(i) return m.figure(r[i], "wall") / count * 1e9 end
  local bare = figures[case[1]][1].single
  m.line(
    "%s: without the model %5.0f ns/event, its fields projected %5.0f, scored %5.0f: the score adds %.2f x the bare evaluation (%.0f)",
    case[1],
    ns(1),
    ns(2),
    ns(3),
    (ns(3) - ns(2)) / bare,
    bare
  )
end

m.title "moonweir detect, a csv of 1,000,000 points with times: read, judged, written"
local series = folder .. "/series.csv"
do
  local lines = { "at,value" }
  for n = 1, 1000000 do
    lines[n + 1] = ("%d,%.4f"):format(1700000000 + n * 300, 20 + math.sin(n / 288 * 2 * math.pi) * 5 + (n * 7919) % 1000 / 1000)
  end
  s.write(series, table.concat(lines, "\n") .. "\n")
end
local kinds, candidates = { "page-hinkley", "ewma", "holt-winters", "robust-z", "auto" }, {}
for i, kind in ipairs(kinds) do
  candidates[i] = function()
    return m.run({ s.program, "detect", "--time", "at", "--kind", kind }, { stdin = series, stdout = "/dev/null" })
  end
end
local r = m.in_turn(candidates, 3)
for i, kind in ipairs(kinds) do
  local ns = m.figure(r[i], "cpu") / 1000000 * 1e9
  m.line("%-14s %5.0f ns a point of processor time, %5.0f more than page-hinkley", kind, ns, ns - m.figure(r[1], "cpu") / 1000000 * 1e9)
end
