-- The Nexmark queries that need rules, windows, sessions, joins and rankings, one output file each.
-- (Queries: Tucker, Tufte, Papadimos and Maier, "NEXMark: a benchmark for queries over data
-- streams", 2002, and their later additions in Apache Beam and nexmark/nexmark.)
local mw = require "moonweir"

mw.flow { name = "nexmark" }
local events = mw.source.file("events", { path = "events.ndjson", block = "16KiB", time = "t", lateness = "3s" })
local function out(q) return mw.sink.file(q, { path = q .. ".ndjson" }) end

-- Q1 (prices in another currency), Q2 (bids on some auctions)
local q1, q2 = out "q1", out "q2"
mw.rule("simple", { from = events, when = { type = "bid" } }, function(e)
  q1:send { auction = e.auction, bidder = e.bidder, price = e.price * 0.908, t = e.t }
  if e.auction % 123 == 0 then q2:send { auction = e.auction, price = e.price } end
end)

-- Q3 (who sells in category 10 in three states), Q8 (who sells within the ten seconds in which they came)
local q3, q8 = out "q3", out "q8"
local people = mw.channel "people"
mw.rule("to-people", { from = events, when = { type = { "person", "auction" } } }, function(e)
  people:send { person = e.type == "person" and e.id or e.seller, is = e.type, name = e.name, state = e.state, auction = e.id,
    category = e.category, ten = math.floor(e.t / 10000) }
end)
local LOCAL = { OR = true, ID = true, CA = true }
local sells = mw.join("sells", { by = "person", within = "24h", most = 1000 })
local soon = mw.join("soon", { by = { "person", "ten" }, within = "10s" })
mw.rule("sellers", { from = people, by = "person" }, function(e)
  local is_person = e.is == "person"
  for _, other in ipairs(is_person and sells:left(e) or sells:right(e)) do
    local person, auction = is_person and e or other, is_person and other or e
    if auction.category == 10 and LOCAL[person.state] then
      q3:send { name = person.name, state = person.state, auction = auction.auction }
    end
  end
end)
mw.rule("new-sellers", { from = people, by = { "person", "ten" } }, function(e)
  local is_person = e.is == "person"
  for _, other in ipairs(is_person and soon:left(e) or soon:right(e)) do
    local auction = is_person and other or e
    q8:send { person = e.person, ten = e.ten, auction = auction.auction }
  end
end)

-- Q4 (the average of what is paid in a category), Q20 (bids with their auction)
local q4, q20 = out "q4", out "q20"
local offers, paid = mw.channel "offers", mw.channel "paid"
mw.rule("to-offers", { from = events, when = { type = { "auction", "bid" } } }, function(e)
  offers:send { auction = e.type == "bid" and e.auction or e.id, is = e.type, t = e.t, expires = e.expires,
    category = e.category, price = e.price, bidder = e.bidder }
end)
local auctions = mw.state "auctions"
local closing = mw.timer("closing", function(auction)
  local a = auctions:get(auction)
  if a.best then paid:send { auction = auction, category = a.category, price = a.best } end
end)
mw.rule("auctions", { from = offers, by = "auction" }, function(e)
  if e.is == "auction" then
    auctions:set(e.auction, { category = e.category, expires = e.expires, t = e.t })
    closing:at(e.auction, e.expires / 1000 + 0.001)
    return
  end
  local a = auctions:get(e.auction)
  if a.category == 10 then q20:send { auction = e.auction, bidder = e.bidder, price = e.price, category = a.category, expires = a.expires } end
  if e.t >= a.t and e.t <= a.expires and e.price > (a.best or 0) then auctions:put(e.auction, "best", e.price) end
end)
local averages = mw.state "averages"
mw.rule("averages", { from = paid, by = "category" }, function(e)
  local n, sum = averages:increment(e.category, "n"), averages:increment(e.category, "sum", e.price)
  q4:send { category = e.category, n = n, average = sum / n }
end)

-- Q5 (auctions with most bids of ten seconds, every two), Q7 (the highest bid of ten seconds)
local q5, q7 = out "q5", out "q7"
local counted = mw.channel "counted"
local hot = mw.window("hot", { by = "auction", span = "10s", slide = "2s", keep = { n = mw.count() } })
local highest = mw.window("highest", { span = "10s", keep = { price = mw.max "price" } })
mw.rule("hot", { from = events, by = "auction", when = { type = "bid" } }, function(e) hot:add(e) end)
hot:on_close(function(w) counted:send { finish = w.finish, auction = w.key, n = w.n } end)
local leaders = mw.state "leaders"
mw.rule("hottest", { from = counted, by = "finish" }, function(e)
  local l = leaders:get(e.finish)
  if l and l.n > e.n then return end
  local list = l and l.n == e.n and l.auctions or mw.array {}
  list[#list + 1] = e.auction
  leaders:set(e.finish, { n = e.n, auctions = list })
  q5:send { finish = e.finish, n = e.n, auctions = list }
end)
local bids = mw.channel "bids"
mw.rule("all-bids", { from = events, when = { type = "bid" } }, function(e) bids:send { price = e.price, one = 1 } end)
mw.rule("highest", { from = bids, by = "one" }, function(e) highest:add(e) end)
highest:on_close(function(w) q7:send { finish = w.finish, price = w.price } end)

-- Q11 (bids of each bidder by session), Q12 (the same by ten seconds)
local q11, q12 = out "q11", out "q12"
local session = mw.window("session", { by = "bidder", gap = "5s", keep = { n = mw.count() } })
local ten = mw.window("ten", { by = "bidder", span = "10s", keep = { n = mw.count() } })
mw.rule("bidders", { from = events, by = "bidder", when = { type = "bid" } }, function(e)
  session:add(e)
  ten:add(e)
end)
session:on_close(function(w) q11:send { bidder = w.key, n = w.n, start = w.start } end)
ten:on_close(function(w) q12:send { bidder = w.key, n = w.n, finish = w.finish } end)

-- Q18 (the last bid of each bidder for each auction), Q19 (the ten highest bids of each auction)
local q18, q19 = out "q18", out "q19"
local last, ranks = mw.state "last", mw.state "ranks"
mw.rule("last-bids", { from = events, by = { "bidder", "auction" }, when = { type = "bid" } }, function(e)
  local key = e.bidder .. "/" .. e.auction
  local before = last:get(key, "t")
  if before and before > e.t then return end
  last:put(key, "t", e.t)
  q18:send { bidder = e.bidder, auction = e.auction, t = e.t, price = e.price }
end)
mw.rule("ranks", { from = events, by = "auction", when = { type = "bid" } }, function(e)
  local list = ranks:get(e.auction, "list") or mw.array {}
  if #list == 10 and list[10] >= e.price then return end
  list[#list + 1] = e.price
  table.sort(list, function(a, b) return a > b end)
  list[11] = nil
  ranks:put(e.auction, "list", list)
  q19:send { auction = e.auction, prices = list }
end)
