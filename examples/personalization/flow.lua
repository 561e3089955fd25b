-- Who is this, what are they doing, and what may they be offered?
local mw = require "moonweir"
local offers = require "moonweir.offers"

local clicks =
  mw.source.http("clicks", { listen = mw.env("LISTEN", "127.0.0.1:0"), path = "/clicks" })
local profile = mw.shared("profile", {
  url = mw.env("REDIS", "redis://127.0.0.1"),
  timeout = "50ms",
  on_failure = "default",
})

local book = offers.book("offers", {
  by = "user",
  gap = "30m",
  offers = {
    {
      name = "suite-upgrade",
      weight = 3,
      cap = 2,
      per = "24h",
      when = function(e, s) return s.pages >= 3 and e.tier == "gold" end,
    },
    {
      name = "newsletter",
      weight = 1,
      cap = 1,
      per = "7d",
      when = function(_, s) return s.pages >= 2 end,
    },
  },
})

mw.rule("offer", { from = clicks, by = "user" }, function(e)
  local who = profile:get(e.user) or {} -- waits for Redis; other users go on
  e.tier = who.tier
  local offer = book:next(e)
  if offer then profile:increment(e.user, "offers", 1, { ttl = "30d" }) end
  return mw.reply(e, { offer = offer or mw.null, pages = book:session(e.user).pages })
end)

mw.test("a visitor who looks around is offered the newsletter once", function(t)
  t:push(clicks, { user = "u1", page = "/" })
  t:expect_reply { offer = mw.null, pages = 1 }
  t:push(clicks, { user = "u1", page = "/rooms" })
  t:expect_reply { offer = "newsletter", pages = 2 }
  t:push(clicks, { user = "u1", page = "/prices" })
  t:expect_reply { offer = mw.null, pages = 3 }
end)

mw.test("a session ends when nothing came for half an hour", function(t)
  t:push(clicks, { user = "u1", page = "/" })
  t:advance "31m"
  t:push(clicks, { user = "u1", page = "/" })
  t:expect_reply { pages = 1 }
end)
