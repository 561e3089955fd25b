--- The scorer of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", ICMLA 2015),
--- standard profile: a detection in a window counts by how early it is, a false one by how far behind the last window it is, and
--- one threshold for all series is the one that scores best. 0: a detector that says nothing; 100: one that is perfect.
local s = require "support"

local M = {}

M.folder = s.root .. "/../shared/data/telemetry"

local FALSE_POSITIVE = 0.11

local function sigmoid(position)
  if position > 3 then return -1 end
  return 2 / (1 + math.exp(5 * position)) - 1
end

local function stamp(text) return (text:gsub("T", " "):sub(1, 19)) end

--- All series of a folder: { path, count, windows = { { first, last } } }, counted from 1. Nil: it is not there.
function M.series(folder)
  local labels = s.read(folder .. "/labels.json")
  if labels == "" then return nil end
  local list = {}
  for name, about in pairs(s.json.decode(labels)) do
    local times = {}
    for line in io.lines(folder .. "/" .. name) do
      times[#times + 1] = stamp(line:match "^[^,]*")
    end
    table.remove(times, 1)
    local windows = {}
    for i, window in ipairs(about.windows) do
      local from, to = stamp(window[1]), stamp(window[2])
      local first, last
      for n, at in ipairs(times) do
        if at >= from and at <= to then
          first, last = first or n, n
        end
      end
      windows[i] = { first, last }
    end
    list[#list + 1] = { name = name, path = folder .. "/" .. name, count = #times, windows = windows }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- What each point of a series adds to the score when it is a detection, beyond -1 a window: by window, and outside.
local function weights(series)
  local points, learned = {}, math.min(math.floor(0.15 * series.count), 750)
  local window, before = 1, nil
  for n = 1, series.count do
    local w = series.windows[window]
    while w and n > w[2] do
      before, window = w, window + 1
      w = series.windows[window]
    end
    if n > learned then
      if w and n >= w[1] then
        points[n] = { window = window, adds = sigmoid(-(w[2] - n + 1) / (w[2] - w[1] + 1)) / sigmoid(-1) }
      else
        points[n] = { adds = FALSE_POSITIVE * (before and sigmoid((n - before[2]) / (before[2] - before[1])) or -1) }
      end
    end
  end
  return points
end

--- The score of detections: `anomalies[i][n]` is of point n of series i. And the threshold.
function M.score(all, anomalies)
  local found, windows = {}, 0
  for i, series in ipairs(all) do
    windows = windows + #series.windows
    for n, point in pairs(weights(series)) do
      found[#found + 1] = { anomaly = anomalies[i][n], adds = point.adds, window = point.window, series = i, n = n }
    end
  end
  table.sort(found, function(a, b)
    if a.anomaly ~= b.anomaly then return a.anomaly > b.anomaly end
    return a.series < b.series or (a.series == b.series and a.n < b.n)
  end)
  -- the threshold goes down: each point becomes a detection, and of a window the first one counts
  local total, best, threshold, first = -windows, -windows, math.huge, {}
  for k, point in ipairs(found) do
    if point.window then
      local key = point.series * 1000 + point.window
      local was = first[key]
      if not was then
        total, first[key] = total + 1 + point.adds, point
      elseif point.n < was.n then
        total, first[key] = total - was.adds + point.adds, point
      end
    else
      total = total + point.adds
    end
    local last = not found[k + 1] or found[k + 1].anomaly < point.anomaly
    if last and total > best then
      best, threshold = total, point.anomaly
    end
  end
  return 100 * (best + windows) / (2 * windows), threshold
end

return M
