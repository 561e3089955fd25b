-- kafka_proxy.lua PORT TARGET FILE: stands before a Kafka broker and does what FILE says when a client ends a transaction:
-- "lose" drops that request, "mute" lets it through and drops all answers to that client from then on; anything else: nothing.
-- Prints "ready", and "did" each time.
local socket = require "socket"
local port, target, path = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local END_TXN = 26

local listening = assert(socket.bind("127.0.0.1", port, 64))
listening:settimeout(0)
local other, muted, held, client = {}, {}, {}, {} -- by socket: its other side; whether it gets nothing; bytes of half a request

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function wish()
  local file = io.open(path)
  local text = file and file:read "*l"
  if file then file:close() end
  return text
end

local function close(s)
  local o = other[s]
  for _, each in ipairs { s, o } do
    other[each], held[each], client[each], muted[each] = nil, nil, nil, nil
    each:close()
  end
end

local function send(s, text)
  local at = 1
  while at <= #text do
    local n, err, some = s:send(text, at)
    if err == "timeout" then
      at = (some or at - 1) + 1
      socket.select(nil, { s }, 1)
    elseif not n then
      return close(s)
    else
      at = n + 1
    end
  end
end

local function u(text, at, n)
  local value = 0
  for i = at, at + n - 1 do
    value = value * 256 + text:byte(i)
  end
  return value
end

--- Whole requests go on, each looked at.
local function on_request(s, text)
  text = held[s] .. text
  while #text >= 6 do
    local len = u(text, 1, 4) + 4
    if #text < len then break end
    local request = text:sub(1, len)
    text = text:sub(len + 1)
    local what = u(request, 5, 2) == END_TXN and wish()
    if what == "mute" then muted[s] = true end
    if what == "mute" or what == "lose" then say "did" end
    if what ~= "lose" then send(other[s], request) end
    if not other[s] then return end
  end
  held[s] = text
end

say "ready"
while true do
  local list = { listening }
  for s in pairs(other) do
    list[#list + 1] = s
  end
  for _, s in ipairs((socket.select(list, nil, 10))) do
    if s == listening then
      local c, broker = listening:accept(), socket.tcp()
      if c and broker:connect("127.0.0.1", target) then
        c:settimeout(0)
        broker:settimeout(0)
        other[c], other[broker], held[c], client[c] = broker, c, "", true
      elseif c then
        c:close()
      end
    elseif other[s] then
      local text, err, some = s:receive(65536)
      text = text or some
      if text and #text > 0 then
        if client[s] then
          on_request(s, text)
        elseif not muted[other[s]] then
          send(other[s], text)
        end
      end
      if err == "closed" and other[s] then close(s) end
    end
  end
end
