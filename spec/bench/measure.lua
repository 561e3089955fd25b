--- What the benchmarks share: running programs to their end with their time and memory, medians, ratios, a table.
local s = require "support"
local ffi = require "ffi"
local time = require "posix.time"
local unistd = require "posix.unistd"

local M = { folder = assert(os.getenv "BENCH_DIR"), rounds = tonumber(os.getenv "ROUNDS") or 5 }
M.events = tonumber(os.getenv "EVENTS") or 2000000
local tick = unistd.sysconf(unistd._SC_CLK_TCK)

ffi.cdef [[
  typedef struct moonweir_usage { long user_s, user_us, system_s, system_us, rest[14]; } moonweir_usage;
  int getrusage(int who, moonweir_usage *usage);
]]

--- CPU seconds of all children that have ended.
local function cpu_of_children()
  local u = ffi.new "moonweir_usage"
  assert(ffi.C.getrusage(-1, u) == 0)
  return tonumber(u.user_s + u.system_s) + tonumber(u.user_us + u.system_us) / 1e6
end

function M.now()
  local t = time.clock_gettime(time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

local function peak_kib(pid)
  local most = 0
  local function look(id)
    local peak = s.read("/proc/" .. id .. "/status"):match "VmHWM:%s*(%d+)"
    most = math.max(most, tonumber(peak) or 0)
  end
  look(pid)
  for child in s.read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch "%d+" do look(child) end
  return most
end

--- Runs a program to its end and does nothing meanwhile: { wall (seconds), code, err }. Where every core is wanted, looking
--- at memory would be in the way.
function M.run_quietly(argv, options)
  local start = M.now()
  local p = s.start(argv, options)
  local code = p:join()
  return { wall = M.now() - start, code = code, err = p:stderr() }
end

--- Runs a program to its end: { wall, cpu (seconds), kib (peak resident), code }.
function M.run(argv, options)
  local before, start = cpu_of_children(), M.now()
  local p = s.start(argv, options)
  local kib = 0
  while not p:poll() do
    kib = math.max(kib, peak_kib(p.pid))
    s.sleep(0.005)
  end
  local cpu = cpu_of_children() - before
  return { wall = M.now() - start, cpu = cpu, kib = kib, code = p.code, err = p:stderr() }
end

--- CPU seconds that a running process (and its children) has used.
function M.cpu_of(pid)
  local function own(id)
    local fields = s.read("/proc/" .. id .. "/stat"):match "^.*%) (.*)$"
    if not fields then return 0 end
    local n, sum = 0, 0
    for f in fields:gmatch "%S+" do
      n = n + 1
      if n == 12 or n == 13 then sum = sum + tonumber(f) end
    end
    return sum / tick
  end
  local total = own(pid)
  for child in s.read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch "%d+" do
    total = total + M.cpu_of(tonumber(child))
  end
  return total
end

function M.median(list)
  local sorted = {}
  for i, v in ipairs(list) do sorted[i] = v end
  table.sort(sorted)
  return sorted[math.floor((#sorted + 1) / 2)]
end

--- Runs candidates in turn, `rounds` times; the list of their results, each a list. The machine's speed drifts, so what is
--- compared was run side by side.
function M.in_turn(candidates, rounds)
  local results = {}
  for i in ipairs(candidates) do results[i] = {} end
  for _ = 1, rounds or M.rounds do
    for i, run in ipairs(candidates) do results[i][#results[i] + 1] = run() end
  end
  return results
end

--- The median of the ratios, round by round, of a figure of two results.
function M.ratio(a, b, figure)
  local list = {}
  for i = 1, #a do list[i] = a[i][figure] / b[i][figure] end
  return M.median(list)
end

function M.figure(results, name)
  local list = {}
  for i, r in ipairs(results) do list[i] = r[name] end
  return M.median(list)
end

function M.title(text) print("\n" .. text .. "\n" .. ("-"):rep(#text)) end
function M.line(...) print((...):format(select(2, ...))) end

--- Writes the generated payments once.
function M.payments(shape, count)
  local path = ("%s/payments-%s-%d.ndjson"):format(M.folder, shape, count or M.events)
  if s.read(path) == "" then
    os.execute(("luajit %s/spec/bench/payments.lua %d %s > %s"):format(s.root, count or M.events, shape, path))
  end
  return path
end

--- Runs `moonweir run` on a flow in a fresh folder, by M.run or `how`; `more`: arguments.
function M.moonweir(flow, shards, options, how, more)
  local folder = s.folder()
  s.write(folder .. "/flow.lua", flow)
  local argv = { s.program, "run", "flow.lua", "--quiet", "--shards", tostring(shards), "--state", "state" }
  for _, argument in ipairs(more or {}) do argv[#argv + 1] = argument end
  local o = { cwd = folder }
  for k, v in pairs(options or {}) do o[k] = v end
  local r = (how or M.run)(argv, o)
  os.execute("rm -rf " .. folder .. "/*") -- in memory, where it can be: the next run wants the room
  if r.code ~= 0 then error("moonweir failed: " .. r.err) end
  return r
end

return M
