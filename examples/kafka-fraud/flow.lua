-- Payments out of a topic of Kafka, decided, into two others: exactly once, over any crash.
local mw = require "moonweir"

local BROKERS = mw.env("KAFKA", "127.0.0.1:9092")

mw.flow { name = "kafka-fraud", delivery = "exactly-once", checkpoint = "200ms" }

local payments = mw.source.kafka("payments", {
  brokers = BROKERS,
  topic = "payments",
  group = "fraud",
  member = mw.env("HOSTNAME", "one"),
  time = "time",
  lateness = "1h", -- partitions are not read at the same pace
})

local function topic(name, what)
  return mw.sink.kafka(name, { brokers = BROKERS, topic = what, key = "{card}" })
end
local accepted = topic("accepted", "payments.accepted")
local review = topic("review", "payments.review")

local recent = mw.window("recent", {
  by = "card",
  span = "60s",
  keep = { payments = mw.count(), total = mw.sum "amount", shops = mw.distinct "merchant" },
})

mw.rule("decide", { from = payments, by = "card" }, function(e)
  local w = recent:add(e)
  local reason
  if not w then
    reason = "too late to tell"
    w = { payments = 0, total = 0 }
  elseif w.shops > 3 then
    reason = "many shops in a minute"
  elseif w.total > 2000 then
    reason = "much in a minute"
  end
  if reason then
    review:send(e, { reason = reason, payments = w.payments, total = w.total })
  else
    accepted:send(e)
  end
end)

mw.test("a card that is at many shops in a minute is looked at", function(t)
  for i = 1, 4 do
    t:push(payments, { card = "c1", amount = 10, merchant = "m" .. i, time = 1000 + i })
  end
  t:expect(accepted, 3)
  t:expect(review, {
    {
      card = "c1",
      amount = 10,
      merchant = "m4",
      time = 1004,
      reason = "many shops in a minute",
      payments = 4,
      total = 40,
    },
  })
end)

mw.test("much money in a minute is looked at, and in two minutes is not", function(t)
  t:push(payments, { card = "c2", amount = 1500, merchant = "m1", time = 1000 })
  t:push(payments, { card = "c2", amount = 1500, merchant = "m1", time = 1001 })
  t:push(payments, { card = "c3", amount = 1500, merchant = "m1", time = 1000 })
  t:push(payments, { card = "c3", amount = 1500, merchant = "m1", time = 1090 })
  t:expect(accepted, 3)
  t:expect(review, 1)
end)
