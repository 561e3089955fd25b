--- What every source and every sink can be told, whatever its kind.
local M = {}

--- Options that every source and every sink has, besides those of its kind.
M.SOURCE_OPTIONS = {
  { name = "format", type = "text", doc = "how bytes become events" },
  {
    name = "columns",
    type = "texts",
    doc = "csv: names of the fields, where no header names them",
  },
  { name = "limit", type = "size", fallback = "16MiB", doc = "largest event" },
  {
    name = "time",
    type = "text",
    doc = "field that says when the event happened; without it: when it came",
  },
  {
    name = "time_format",
    type = "text",
    fallback = "auto",
    doc = "auto, s, ms, us, ns, rfc3339, syslog, or a pattern of strptime",
  },
  {
    name = "lateness",
    type = "duration",
    fallback = "0s",
    doc = "how much later than others an event may come",
  },
  {
    name = "idle",
    type = "duration",
    fallback = "10s",
    doc = "a partition that gives nothing for so long does not hold time back",
  },
  {
    name = "in_flight",
    type = "size",
    fallback = "8MiB",
    doc = "bytes that may be worked on before the source is paused",
  },
  {
    name = "buffer",
    type = "table",
    doc = "http, tcp, udp, unix: what is taken in is on disk before it is acknowledged",
    inside = {
      { name = "size", type = "size", fallback = "1GiB", doc = "the most it may take on disk" },
      {
        name = "sync",
        type = "duration",
        fallback = "100ms",
        doc = "how long a sync may wait for others",
      },
    },
  },
}

--- Kinds of sources that cannot give again what they have given, and whose senders wait.
M.BUFFERED = { http = true, tcp = true, udp = true, unix = true }
M.SINK_OPTIONS = {
  { name = "format", type = "text", doc = "how events become bytes" },
  { name = "columns", type = "texts", doc = "csv: names of the fields to write" },
  { name = "only", type = "texts", doc = "write these fields only" },
  { name = "without", type = "texts", doc = "leave these fields out" },
  {
    name = "template",
    type = "text",
    doc = "write this text, with {field} replaced, instead of a format",
  },
  {
    name = "queue",
    type = "size",
    fallback = "16MiB",
    doc = "bytes that may wait before sources are paused",
  },
  {
    name = "delivery",
    type = "text",
    choices = "at-least-once",
    doc = "in a flow that is exactly once: this sink need not be",
  },
}

--- What a buffer cannot be: errors are raised `level` levels up.
function M.check_buffer(what, kind, resolved, level)
  if not resolved.buffer then return end
  if not M.BUFFERED[kind] then
    error(
      what .. ": 'buffer' is for http, tcp, udp and unix: what else there is can be read again",
      level + 1
    )
  end
  if resolved.format == "csv" and not resolved.columns then
    error(
      what .. ": with 'buffer' and csv, 'columns' must be given: a header is of its stream only",
      level + 1
    )
  end
end

return M
