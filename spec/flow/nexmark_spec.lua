-- The Nexmark queries against the same questions in SQL, on the same generated events.
local s = require "support"

--- Persons, auctions and bids of some minutes, in order of time but for bids, which come up to two
--- seconds late. No two bids have the same price or the same time.
local function generate(folder, seed, count)
  math.randomseed(seed)
  local STATES, list = { "OR", "ID", "CA", "WA", "NY" }, {}
  local persons, auctions = 0, {}
  local sql = {
    "create table person(id integer, name text, state text, t integer);",
    "create table auction(id integer, seller integer, category integer, expires integer, t integer);",
    "create table bid(auction integer, bidder integer, price integer, t integer);",
    "begin;",
  }
  local function add(arrival, text, ...) list[#list + 1] = { arrival, #list, text:format(...) } end
  for i = 1, count do
    local t = 1700000000000 + i * 10 + math.random(0, 9)
    local dice = math.random(50)
    if dice == 1 or persons < 5 then
      persons = persons + 1
      local state = STATES[math.random(#STATES)]
      add(t, '{"type":"person","id":%d,"name":"p%d","state":"%s","t":%d}', persons, persons, state, t)
      sql[#sql + 1] = ("insert into person values(%d,'p%d','%s',%d);"):format(persons, persons, state, t)
    elseif dice <= 4 or #auctions < 5 then
      local a = { id = #auctions + 1, expires = t + math.random(2000, 40000) }
      local seller, category = math.random(math.max(1, persons - 10), persons), math.random(9, 12)
      auctions[a.id] = a
      add(t, '{"type":"auction","id":%d,"seller":%d,"category":%d,"expires":%d,"t":%d}', a.id, seller, category, a.expires, t)
      sql[#sql + 1] = ("insert into auction values(%d,%d,%d,%d,%d);"):format(a.id, seller, category, a.expires, t)
    else
      local auction = math.random(4) == 1 and math.random(#auctions) or math.random(math.max(1, #auctions - 5), #auctions)
      local bidder, price = math.random(math.max(1, persons - 20), persons), math.random(1000) * 100000 + i
      add(t + math.random(0, 2000), '{"type":"bid","auction":%d,"bidder":%d,"price":%d,"t":%d}', auction, bidder, price, t)
      sql[#sql + 1] = ("insert into bid values(%d,%d,%d,%d);"):format(auction, bidder, price, t)
    end
  end
  add(1700000000000 + count * 10 + 60000, '{"type":"end","t":%d}', 1700000000000 + count * 10 + 60000) -- every auction is over
  table.sort(list, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i, item in ipairs(list) do
    list[i] = item[3]
  end
  sql[#sql + 1] = "commit;"
  s.write(folder .. "/events.ndjson", table.concat(list, "\n") .. "\n")
  s.write(folder .. "/events.sql", table.concat(sql, "\n"))
  os.execute(("sqlite3 %s/events.db < %s/events.sql"):format(folder, folder))
end

local function ask(folder, query)
  s.write(folder .. "/query.sql", ".mode tabs\n" .. query .. ";\n")
  local pipe = io.popen(("sqlite3 %s/events.db < %s/query.sql 2>&1"):format(folder, folder))
  local rows = {}
  for line in pipe:lines() do
    rows[#rows + 1] = line
  end
  pipe:close()
  table.sort(rows)
  return rows
end

--- What a query's file has, each event as the text of some fields; of those with the same first
--- `key` fields the last, where that is given.
local function answers(folder, name, fields, key)
  local rows, by_key = {}, {}
  for _, e in ipairs(s.events(folder .. "/" .. name .. ".ndjson")) do
    local parts = {}
    for i, field in ipairs(fields) do
      local of, scale = field:match "^(%w+)%*?(%d*)$"
      local v = e[of]
      if scale ~= "" then v = math.floor(v * tonumber(scale) + 0.5) end
      if type(v) == "table" then
        table.sort(v)
        v = table.concat(v, ",")
      end
      parts[i] = type(v) == "number" and v % 1 ~= 0 and ("%.9g"):format(v) or type(v) == "number" and ("%d"):format(v) or tostring(v)
    end
    local text = table.concat(parts, "\t")
    if key then
      by_key[table.concat(parts, "\t", 1, key)] = text
    else
      rows[#rows + 1] = text
    end
  end
  for _, text in pairs(by_key) do
    rows[#rows + 1] = text
  end
  table.sort(rows)
  return rows
end

local QUERIES = {
  { "q1", { "auction", "bidder", "price*1000", "t" }, nil,
    "select auction, bidder, price * 908, t from bid" },
  { "q2", { "auction", "price" }, nil, "select auction, price from bid where auction % 123 = 0" },
  { "q3", { "name", "state", "auction" }, nil,
    "select p.name, p.state, a.id from auction a join person p on p.id = a.seller where a.category = 10 and p.state in ('OR', 'ID', 'CA')" },
  { "q4", { "category", "average" }, 1,
    [[select category, printf('%.9g', avg(best)) from (select a.category, max(b.price) best from auction a join bid b on b.auction = a.id
      where b.t between a.t and a.expires group by a.id) group by category]] },
  { "q5", { "finish", "n", "auctions" }, 1,
    [[with windows(finish, auction, n) as (
        select (b.t / 2000 + k.k) * 2, auction, count(*) from bid b, (select 1 k union select 2 union select 3 union select 4 union select 5) k
        group by 1, 2),
      best as (select finish, max(n) n from windows group by finish)
      select w.finish, w.n, group_concat(w.auction) from (select * from windows order by finish, cast(auction as text)) w
      join best on best.finish = w.finish and best.n = w.n group by w.finish]] },
  { "q7", { "finish", "price" }, nil, "select (t / 10000 + 1) * 10, max(price) from bid group by 1" },
  { "q8", { "person", "ten", "auction" }, nil,
    "select p.id, p.t / 10000, a.id from person p join auction a on a.seller = p.id and a.t / 10000 = p.t / 10000" },
  { "q11", { "bidder", "start*1000", "n" }, nil,
    [[with marked as (select bidder, t, case when t - lag(t) over (partition by bidder order by t) < 5000 then 0 else 1 end begins from bid),
      numbered as (select bidder, t, sum(begins) over (partition by bidder order by t) session from marked)
      select bidder, min(t), count(*) from numbered group by bidder, session]] },
  { "q12", { "bidder", "finish", "n" }, nil, "select bidder, (t / 10000 + 1) * 10, count(*) from bid group by 1, 2" },
  { "q18", { "bidder", "auction", "t", "price" }, 2,
    [[select bidder, auction, t, price from (select *, row_number() over (partition by bidder, auction order by t desc) n from bid)
      where n = 1]] },
  { "q19", { "auction", "prices" }, 1,
    [[select auction, group_concat(price) from (select auction, price from (select auction, price,
      row_number() over (partition by auction order by price desc) n from bid) where n <= 10 order by auction, price) group by auction]] },
  { "q20", { "auction", "bidder", "price", "expires" }, nil,
    "select b.auction, b.bidder, b.price, a.expires from bid b join auction a on a.id = b.auction where a.category = 10" },
}

describe("the Nexmark queries", function()
  after_each(s.clean)

  for shards = 1, 3, 2 do
    it("give what SQL gives, on " .. shards .. " shards", function()
      local folder = s.folder()
      generate(folder, 100 + shards, 12000)
      local flow = s.read(s.root .. "/spec/flow/nexmark_flow.lua")
      local code, _, err = s.moonweir(
        "run",
        folder,
        flow,
        { "--state", "state", "--shards", tostring(shards), "--no-supervisor", "--quiet" }
      )
      assert.equal(0, code, err)
      assert.equal("", s.read(folder .. "/state/dead-letters.ndjson"))
      for _, q in ipairs(QUERIES) do
        local name, fields, key, query = q[1], q[2], q[3], q[4]
        local expected = ask(folder, query)
        assert(#expected > 3, name .. " has answers: " .. tostring(expected[1]))
        assert.same(expected, answers(folder, name, fields, key), name)
      end
    end)
  end
end)
