-- reference.lua: writes docs/reference/sources.md and sinks.md from what the program itself
-- knows of its options.
--   luajit scripts/reference.lua build/release/moonweir FOLDER
-- luacheck: no max line length
local program, folder = arg[1], arg[2]
local cjson = require "cjson"
local pipe = assert(io.popen(program .. " kinds"))
local kinds = cjson.decode(pipe:read "*a")
pipe:close()

local PROSE = {
  source = {
    stdin = "Standard input: a pipe, a terminal or a redirected file. It cannot be read again: what was read and not yet delivered when the router dies is lost.",
    file = "Files, read to the end or followed. Positions are kept under `--state` by device, inode and a fingerprint of the first bytes, so that a renamed file goes on where it was and a truncated or replaced one is read from its start (with a warning). gzip and zstd files are recognised by their first bytes; a restart reads them again up to where it was. What is written between a copy and the truncation of `copytruncate` cannot be had by any reader.",
    http = "HTTP/1.1 on each shard: keep-alive, pipelining, chunked bodies, 100-continue, gzip and zstd bodies. A request holds one JSON object, an array, or lines of JSON. Answers: what a rule replied, or `{}`; for several events a list with a result for each. 400: not valid events (what and where); 404: another path; 405: not POST or PUT; 408: not whole in time; 413: larger than `max_body`; 415: unknown Content-Encoding; 422: the rule failed, and the event is in the dead letters; 429 with Retry-After: too much is in flight; 431: the head is too large; 503 with Retry-After: stopping, or too many connections. A client may repeat whatever was not answered 2xx or 422.",
    tcp = "Connections that stream events. Nothing is answered. While too much is in flight, connections are not read. A connection whose framing is lost is closed, and what was left of it is in the dead letters; so is the half of an event that a broken connection, or the end of the source, leaves. Whoever has only just connected at that end has 0.3 s for sending.",
    unix = "As tcp, on a unix socket. A socket file that nobody listens on any more is replaced.",
    udp = "Datagrams, each one event or several lines. What the kernel drops while we are busy is counted in `moonweir_source_dropped_total`: of all sources, this is the one that can lose.",
    generate = "Synthetic payments, for trying things out; the same for the same `seed`.",
    redis = "Streams or channels of Redis. A stream without `group`: its position is kept with the flow's state and committed with it, so that windows and states are exact after a crash. With `group`: entries are acknowledged (XACK) when all they caused is safe; after a restart those that were given and not acknowledged come first, and what another consumer left lying for `claim` is taken over, so an entry may come twice. A channel: what is published while nobody listens, or faster than it is taken, is lost; Redis keeps none of it. In `channel` a name with `*`, `?` or `[` is a pattern. `mw.meta(e)` has `stream` and the `first` and `last` ID of the entries that came with the event, or `channel`.",
    kafka = "Messages of topics, as a member of a consumer group (cooperative-sticky), by one consumer for all shards. Each partition's position is kept with the flow's state and committed with it, so that windows and states are exact after a crash, and is told to the group every `commit`, with a text that says whose it is: at a start our own position counts as long as nobody else has committed since, then the group's, then `start`. Nothing is committed before all that the events caused is safe. Partitions that are taken away are first worked off (5 s at most). While too much is in flight nothing is read; after a second partitions are paused. A message is an event (line breaks between the tokens of a JSON document become blanks), or several where it is several lines; a tombstone is `{}`. `mw.meta(e)` has `topic`, `partition_number`, `offset`, `timestamp` (seconds), `key`, `headers` and `tombstone`. With `config` every property of librdkafka (its CONFIGURATION.md) can be set (SASL, TLS, sizes); what is set there goes before what we choose.",
  },
  sink = {
    stdout = "Standard output. When its reader goes away the run fails (exit code 1), and what was not delivered is not acknowledged.",
    file = "Files, appended to. A full disk, or any failing write, is tried again until it succeeds, while sources wait. Half a line that a crash left at the end is cut off at the next start (its event comes again). A value of a path template that cannot be opened costs its events a dead letter.",
    http = "Requests by libcurl. No answer, 408, 425, 429 and 5xx are tried again with exponential back-off and jitter, or as Retry-After says; any other answer but 2xx is final: the request's events go to the dead letters. Every request carries an `Idempotency-Key` that is the same at each try.",
    tcp = "A connection; made again with back-off when it breaks, and what was not taken is sent again. Delivered means that the kernel took the bytes: the protocol has no acknowledgement.",
    unix = "As tcp, to a unix socket.",
    udp = "A datagram an event. Delivered means sent. An event larger than a datagram goes to the dead letters.",
    redis = "Entries of a stream, ends of lists, messages of channels, or values of keys, one command an event, many in flight. Exactly one of `stream`, `list`, `channel` and `key` is given; the third argument of `send`, `{ key = … }`, goes before it. Delivered means that Redis answered. No answer, or one that says \"not now\" (OOM, LOADING, READONLY, CLUSTERDOWN and the like): all that are not answered are sent again, from the oldest on, with back-off, so an event may come twice but the last of each stand in order (in a cluster whose slots are moving, two of one key may change places). Any other error is final: a dead letter.",
    kafka = "Messages to topics, by an idempotent producer that waits for all replicas in sync (`acks=all`), with the partitioner of Java's clients (murmur2). `topic` and `key` may hold `{field}`; the third argument of `send`, `{ topic =, key =, partition =, timestamp =, headers =, tombstone = true }`, goes before them. Delivered means that librdkafka has reported so. Broken connections, new leaders and brokers that are gone are waited for, for as long as it takes; an error that ends the producer makes another one, to which all that is not reported is given again. What is refused for good (too large, no such topic, not allowed) is a dead letter. With `config` every property of librdkafka (its CONFIGURATION.md) can be set (SASL, TLS, batches); what is set there goes before what we choose.",
    discard = "Takes everything and keeps nothing; it is counted.",
  },
}

local COMMON = {
  source = {
    { "format", "text", "see below", "how bytes become events: " .. table.concat(kinds.formats, ", ") },
    { "columns", "texts", "", "csv: the names of the fields, where no header names them" },
    { "limit", "size", "16MiB", "largest event; a larger one goes to the dead letters, in parts where it is not read at once" },
    { "in_flight", "size", "8MiB", "bytes that may be worked on before the source is paused" },
    { "time", "text", "", "the field that says when an event happened (`ts`, `meta.at`); without it an event happens when it comes" },
    { "time_format", "text", "auto", "how it says that: auto (numbers by their size as s, ms, us or ns since 1970; texts as RFC 3339 or such a number), s, ms, us, ns, rfc3339, syslog, or a pattern of strptime, read as UTC where it has no %z" },
    { "lateness", "duration", "0s", "how much later than others of its partition an event may come (the disorder that is allowed)" },
    { "idle", "duration", "10s", "a partition that gives nothing for so long does not hold event time back" },
    { "buffer.size", "size", "1GiB", "http, tcp, udp, unix: with `buffer = { … }` what is taken in is on disk before it is acknowledged; the most it may take there" },
    { "buffer.sync", "duration", "100ms", "how long a sync of the buffer may wait for others" },
  },
  sink = {
    { "format", "text", "ndjson", "how events become bytes: " .. table.concat(kinds.formats, ", ") },
    { "columns", "texts", "", "csv: the fields to write" },
    { "only", "texts", "", "write these fields only" },
    { "without", "texts", "", "leave these fields out" },
    { "template", "text", "", "write this text instead, with {field} replaced ({{ is a brace)" },
    { "queue", "size", "16MiB", "bytes that may wait before all sources are paused" },
    { "delivery", "text", "", "`at-least-once`: in a flow that is exactly once this sink need not be" },
  },
}

local TYPES = {
  text = "text", texts = "text or list of texts", number = "number", count = "whole number",
  duration = 'duration ("250ms", "60s", or seconds)', size = 'size ("64KiB", or bytes)',
  bool = "true or false", table = "table", map = "table of texts",
}

local function rows(out, options, prefix)
  for _, o in ipairs(options) do
    local default = o.fallback == "!" and "must be given" or o.fallback and "`" .. o.fallback .. "`" or ""
    local doc = o.doc .. (o.choices and " (" .. o.choices:gsub("|", ", ") .. ")" or "")
    out[#out + 1] = ("| `%s%s` | %s | %s | %s |"):format(prefix, o.name, TYPES[o.type], default, doc)
    if o.inside then rows(out, o.inside, prefix .. o.name .. ".") end
  end
end

local HEAD = "| option | type | default | what it does |\n|---|---|---|---|"

local function page(sort, list)
  local out = {
    "# " .. (sort == "source" and "Sources" or "Sinks"),
    "",
    ("`mw.%s.KIND(name, options)`. Made from the program itself by `scripts/reference.lua`; a test holds the two together."):format(sort),
    "",
    "## Options of every " .. sort,
    "",
    HEAD,
  }
  for _, o in ipairs(COMMON[sort]) do
    out[#out + 1] = ("| `%s` | %s | %s | %s |"):format(o[1], TYPES[o[2]], o[3] ~= "" and "`" .. o[3] .. "`" or "", o[4])
  end
  for _, kind in ipairs(list) do
    out[#out + 1] = ""
    out[#out + 1] = "## " .. kind.name
    out[#out + 1] = ""
    out[#out + 1] = assert(PROSE[sort][kind.name], "no prose for " .. sort .. " " .. kind.name)
    if sort == "source" then out[#out + 1] = "Its `format` is `" .. (kind.format or "ndjson") .. "` where none is given." end
    if #kind.options > 0 then
      out[#out + 1] = ""
      out[#out + 1] = HEAD
      rows(out, kind.options, "")
    end
  end
  return table.concat(out, "\n") .. "\n"
end

for sort, list in pairs { source = kinds.sources, sink = kinds.sinks } do
  local file = assert(io.open(folder .. "/" .. sort .. "s.md", "w"))
  file:write(page(sort, list))
  file:close()
end
