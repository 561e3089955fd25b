-- payments.lua: writes N payment events of about 300 bytes to standard output, the same for the
-- same seed.
--   luajit payments.lua N [plain|last|absent|nested|escaped]
local n, shape = tonumber(arg[1]) or 1000, arg[2] or "plain"
math.randomseed(42)
local random, fmt, concat = math.random, string.format, table.concat
local countries = { "FR", "DE", "GB", "US", "JP", "BR", "IN", "NL" }
local systems = { "ios", "android", "windows", "linux", "macos" }
local out = {}
for i = 1, n do
  local core = fmt('"amount":%.2f,"country":"%s",', random() * 1000, countries[random(#countries)])
  local device = fmt(
    '"device":{"os":"%s","model":"m%d","app":"4.%d.1"}',
    systems[random(#systems)],
    random(500),
    random(30)
  )
  if shape == "absent" then
    core, device = "", '"device":{"model":"m1"}'
  end
  if shape == "nested" then
    device = '"device":{"hw":{"soc":{"cpu":{"id":7}}},"os":"' .. systems[random(#systems)] .. '"}'
  end
  local note = shape == "escaped" and [["note":"caf\u00e9 \"au lait\"\n"]]
    or '"note":"card present"'
  local rest = fmt(
    '"id":"p%09d","ts":%d,"card":"c%07d","merchant":"m%05d","currency":"EUR","channel":"pos","ip":"10.%d.%d.%d",%s,"attempt":%d,"lat":%.4f,"lon":%.4f,"new":%s',
    i,
    1700000000000 + i * 7,
    random(200000),
    random(20000),
    random(255),
    random(255),
    random(255),
    note,
    random(3),
    random() * 90,
    random() * 180,
    random(2) == 1 and "true" or "false"
  )
  if shape == "last" then
    out[#out + 1] = "{" .. rest .. "," .. core .. device .. "}\n"
  else
    out[#out + 1] = "{" .. core .. rest .. "," .. device .. "}\n"
  end
  if #out == 1000 then
    io.write(concat(out))
    out = {}
  end
end
io.write(concat(out))
