--- Places: distances, geohashes, and journeys that nobody can have made.
---
---   local geo = require "moonweir.geo"
---   local journeys = geo.journeys("journeys", { by = "card", fastest = 900 })
---   local trip = journeys:add(e)   -- { km, hours, kmh, impossible } since the last place; or nil
local mw = require "moonweir"

local M = {}

local EARTH_KM = 6371.0088
local rad, sin, cos, sqrt, asin = math.rad, math.sin, math.cos, math.sqrt, math.asin

--- Kilometres between two places in degrees (haversine formula, Sinnott 1984).
function M.distance(lat1, lon1, lat2, lon2)
  local dlat, dlon = rad(lat2 - lat1) / 2, rad(lon2 - lon1) / 2
  local a = sin(dlat) ^ 2 + cos(rad(lat1)) * cos(rad(lat2)) * sin(dlon) ^ 2
  return 2 * EARTH_KM * asin(math.min(1, sqrt(a)))
end

local BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"

--- The geohash of a place (Niemeyer 2008), of so many characters (8).
function M.hash(lat, lon, characters)
  local low, high = { -90, -180 }, { 90, 180 }
  local value, out, axis, at = { lat, lon }, {}, 2, 0
  local bits = 0
  for _ = 1, 5 * (characters or 8) do
    local middle = (low[axis] + high[axis]) / 2
    if value[axis] >= middle then
      at = at * 2 + 1
      low[axis] = middle
    else
      at = at * 2
      high[axis] = middle
    end
    axis = 3 - axis
    bits = bits + 1
    if bits == 5 then
      out[#out + 1] = BASE32:sub(at + 1, at + 1)
      at, bits = 0, 0
    end
  end
  return table.concat(out)
end

--- Follows where keys were last. `fastest` is in km/h; `latitude` and `longitude` name the fields;
--- `near` (km) is how far apart two readings of one place may be.
function M.journeys(name, options)
  local last = mw.state(name, { ttl = options.ttl or "30d" })
  local lat_field, lon_field = options.latitude or "lat", options.longitude or "lon"
  local fastest, near = options.fastest or 900, options.near or 50
  local by = options.by
  local journeys = {}
  function journeys.add(_, e)
    local lat, lon, now = e[lat_field], e[lon_field], mw.now()
    if type(lat) ~= "number" or type(lon) ~= "number" then return nil end
    last:want_here(e[by])
    local before = last:get(e[by])
    last:set(e[by], { lat = lat, lon = lon, at = now })
    if not before then return nil end
    local km = M.distance(before.lat, before.lon, lat, lon)
    local hours = math.abs(now - before.at) / 3600
    local kmh = km / math.max(hours, 1 / 3600)
    return { km = km, hours = hours, kmh = kmh, impossible = km > near and kmh > fastest }
  end
  return journeys
end

return M
