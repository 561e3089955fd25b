--- What a flow sees of the world around it: the log and the environment.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local C = core.C

core.ffi.cdef "void mw_log(int level, const char *where, const char *format, ...);"

local M = {}

--- Adds `mw.log`, `mw.env` and `mw.digest`.
---@param env table<string, string>
---@param host { digest: function }
function M.open(mw, env, host)
  --- The SHA-256 of a text as 64 hexadecimal digits; with a key its HMAC.
  function mw.digest(text, key)
    if type(text) ~= "string" then error("mw.digest wants a text, not a " .. type(text), 2) end
    if key ~= nil and type(key) ~= "string" then
      error("mw.digest: the key is a text, not a " .. type(key), 2)
    end
    return (host.digest(text, key))
  end

  local levels = { debug = 0, info = 1, warn = 2, error = 3 }
  local function log(level, message, fields)
    local text = tostring(message)
    if fields ~= nil then text = text .. " " .. encode.encode_text(event.decode(fields)) end
    local info = debug.getinfo(3, "Sl")
    local place = info and info.currentline >= 0 and (info.short_src .. ":" .. info.currentline)
      or "flow"
    C.mw_log(level, place, "%s", text)
  end
  local loggers = {}
  for name, level in pairs(levels) do
    loggers[name] = function(message, fields) log(level, message, fields) end
  end
  mw.log = setmetatable({}, {
    __index = loggers,
    __call = function(_, message, fields) log(1, message, fields) end,
    __newindex = function() error("mw.log cannot be changed", 2) end,
    __metatable = "log",
  })

  mw.env = setmetatable({}, {
    __index = function(_, name)
      local v = env[name]
      if v == nil then
        error(
          "the environment variable "
            .. tostring(name)
            .. ' is not set (mw.env("'
            .. tostring(name)
            .. '", default) gives a default)',
          2
        )
      end
      return v
    end,
    __call = function(_, name, default)
      local v = env[name]
      if v == nil then return default end
      return v
    end,
    __newindex = function() error("the environment cannot be changed", 2) end,
    __metatable = "env",
  })
end

return M
