-- Payments are accepted, reviewed or declined: by how often and how much a card was used, by
-- journeys
-- that nobody can have made, by signs that the account was taken over, and by a table that analysts
-- edit (policy.csv).
local mw = require "moonweir"
local velocity = require "moonweir.velocity"
local geo = require "moonweir.geo"
local takeover = require "moonweir.takeover"
local decisions = require "moonweir.decisions"

local payments = mw.source.http("payments", {
  listen = mw.env("LISTEN", "127.0.0.1:0"),
  path = "/payments",
})
local reviews = mw.sink.file("reviews", { path = mw.env("REVIEWS", "reviews.ndjson") })

local card = velocity.limits("card", {
  by = "card",
  amount = "amount",
  distinct = { merchants = "merchant" },
  limits = { ["1m"] = { count = 3, merchants = 2 }, ["24h"] = { total = 5000 } },
})
local journeys = geo.journeys("journeys", { by = "card" })
local account = takeover.watch("account", { by = "user" })
local policy = decisions.table "policy.csv"

mw.rule("decide", { from = payments, by = "card" }, function(e)
  local signs = account:add(e)
  if e.type ~= "payment" then return mw.reply(e, { noted = e.type }) end
  local broken, trip = card:add(e), journeys:add(e)
  local outcome = policy:decide {
    country = e.country,
    amount = e.amount,
    signs = #signs,
    limits = #broken,
    impossible = trip ~= nil and trip.impossible,
  }
  local answer = { decision = outcome.decision, row = outcome.row, signs = signs, limits = broken }
  if outcome.decision ~= "accept" then reviews:send(e, answer) end
  return mw.reply(e, answer)
end)

local function payment(fields)
  local e =
    { type = "payment", user = "u1", card = "c1", amount = 10, country = "FR", merchant = "m1" }
  for k, v in pairs(fields) do
    e[k] = v
  end
  return e
end

mw.test("an ordinary payment is accepted", function(t)
  t:push(payments, payment {})
  t:expect_reply { decision = "accept" }
  t:expect(reviews, 0)
end)

mw.test("the fourth payment in a minute is reviewed", function(t)
  for _ = 1, 4 do
    t:push(payments, payment {})
  end
  t:expect_reply {
    decision = "review",
    limits = { { span = "1m", what = "count", value = 4, limit = 3 } },
  }
  t:advance "2m"
  t:push(payments, payment {})
  t:expect_reply { decision = "accept" }
end)

mw.test("nobody is in Paris and an hour later in Sydney", function(t)
  t:push(payments, payment { lat = 48.86, lon = 2.35 })
  t:advance "1h"
  t:push(payments, payment { lat = -33.87, lon = 151.21 })
  t:expect_reply { decision = "decline" }
end)

mw.test("a login after failures, from a new device, makes a payment suspicious", function(t)
  t:push(payments, { type = "login", user = "u1", card = "c1", device = "phone", country = "FR" })
  for _ = 1, 3 do
    t:push(payments, { type = "login_failed", user = "u1", card = "c1" })
  end
  t:push(payments, payment { device = "laptop" })
  t:expect_reply { decision = "review", signs = { "after_failures", "new_device" } }
end)

mw.test("the table knows countries and amounts", function(t)
  t:push(payments, payment { country = "KP" })
  t:expect_reply { decision = "decline", row = 2 }
  t:push(payments, payment { card = "c2", amount = 2500, country = "DE" })
  t:expect_reply { decision = "review" }
end)
