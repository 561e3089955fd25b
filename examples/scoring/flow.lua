-- payments are scored with a trained model, which is told what the event does not say
local mw = require "moonweir"

local listen   = mw.env("LISTEN", "127.0.0.1:8080")
local payments = mw.source.http("payments", { listen = listen, path = "/payments" })
local review   = mw.sink.file("review", { path = "review.ndjson" })

local recent = mw.window("recent", { by = "card", span = "10m", keep = { count = mw.count() } })
local model  = mw.model("card-risk", { file = "card-risk.json" })

mw.rule("score", { from = payments, by = "card" }, function(e)
  local seen = { recent_count = recent:add(e).count }
  local risk = model:score(e, seen)
  if risk < 0.5 then return mw.reply(e, { decision = "accept", risk = risk }) end
  local why = model:explain(e, seen).reasons[1]
  review:send(e, { risk = risk, because = why.feature, model = model:version() })
  return mw.reply(e, { decision = "review", risk = risk, because = why.feature })
end)

mw.test("a large payment from a new device is reviewed, and the reason is told", function(t)
  local payment = { card = "c1", amount = 900, channel = "web", device = { age_days = 1 } }
  t:push(payments, payment)
  t:expect(review, 1)
  t:push(payments, { card = "c2", amount = 12, channel = "terminal", device = { age_days = 300 } })
  t:expect(review, 1)
end)
