-- What corrective actions are sent to, in place of a maintenance system: does each once, and says
-- what it did.
local mw = require "moonweir"

local requests = mw.source.http("requests", { listen = "127.0.0.1:0", path = "/actions" })
local done = mw.sink.stdout("done", {})
local seen = mw.state("seen", { ttl = "30d" })

mw.rule("do", { from = requests, by = "id" }, function(e)
  if not seen:get(e.id) then
    seen:set(e.id, { at = mw.now() })
    done:send(e)
  end
  return mw.reply(e, { done = true })
end)
