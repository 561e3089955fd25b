--- What was declared, as C reads it: chains of stages. The chain of a source or a channel is the
--- rules that read from it; a stage is a run of rules, in the order of declaration, that can run on
--- the same shard: those with the same `by`, and those without one between them.
local M = {}

local function same_key(a, b)
  if type(a) == "function" or type(b) == "function" then return a == b end
  return table.concat(a, "\0") == table.concat(b, "\0")
end

--- Stages of the rules that read from `sort` number `index`.
local function stages_of(rules, sort, index, merge)
  local stages = {}
  for _, rule in ipairs(rules) do
    local reads = false
    for _, h in ipairs(rule.from) do
      reads = reads or h.sort == sort and h.index == index
    end
    if reads then
      local stage = stages[#stages]
      if not stage or (not merge and rule.by and stage.by and not same_key(stage.by, rule.by)) then
        stage = { by = rule.by, rules = {} }
        stages[#stages + 1] = stage
      end
      stage.by = stage.by or rule.by
      stage.rules[#stage.rules + 1] = {
        fn = rule.fn,
        number = rule.number,
        when = rule.when,
        trial = rule.trial,
      }
    end
  end
  return stages
end

--- Chains of all sources, then of all channels. `merge`: there is one shard and no rule waits, so
--- one stage is enough.
function M.chains(d, merge)
  local chains = {}
  for i in ipairs(d.sources) do
    chains[#chains + 1] = stages_of(d.rules, "source", i, merge)
  end
  for i in ipairs(d.channels) do
    chains[#chains + 1] = stages_of(d.rules, "channel", i, merge)
  end
  return chains
end

local READ_BY =
  { "format", "columns", "limit", "time", "time_format", "lateness", "idle", "in_flight" }

--- A source with a disk buffer has its rules and captures read what comes out of the buffer, which
--- is a source of the router's own.
function M.add_buffers(d)
  for i = 1, #d.sources do
    local s = d.sources[i]
    if s.options.buffer then
      local own = { of = s.name, size = s.options.buffer.size, sync = s.options.buffer.sync }
      for _, name in ipairs(READ_BY) do
        own[name] = s.options[name]
      end
      local index = #d.sources + 1
      d.sources[index] =
        { name = s.name .. ".buffer", kind = "router-buffer", options = own, where = s.where }
      for _, rule in ipairs(d.rules) do
        for n = 1, #rule.from do
          if rule.from[n].sort == "source" and rule.from[n].index == i then
            rule.from[#rule.from + 1] =
              { sort = "source", index = index, name = s.name .. ".buffer" }
          end
        end
      end
      for _, capture in ipairs(d.captures) do
        for n = 1, #capture.sources do
          if capture.sources[n] == i - 1 then
            capture.sources[#capture.sources + 1] = index - 1
          end
        end
      end
    end
  end
end

--- A flow that keeps something gets a source of the router's own, whose events are for what is due
--- when nothing else comes. Its rule does nothing: what is due runs before it.
function M.add_clock(d)
  if #d.keeps == 0 then return end
  d.sources[#d.sources + 1] = {
    name = "router-clock",
    kind = "router-clock",
    options = { format = "ndjson" },
    where = "the router",
  }
  d.rules[#d.rules + 1] = {
    name = "router-clock",
    from = { { sort = "source", index = #d.sources, name = "router-clock" } },
    fn = function() end,
    number = #d.rules,
    where = "the router",
  }
end

--- Things that are allowed and probably not meant: a list of { where, message }.
function M.lint(d)
  local found = {}
  local function used(sort, index)
    for _, rule in ipairs(d.rules) do
      for _, h in ipairs(rule.from) do
        if h.sort == sort and h.index == index then return true end
      end
    end
  end
  for i, s in ipairs(d.sources) do
    if s.kind ~= "router-buffer" and not used("source", i) then
      found[#found + 1] = {
        where = s.where,
        message = "no rule reads source '"
          .. s.name
          .. "': its events are acknowledged and go nowhere",
      }
    end
  end
  for _, s in ipairs(d.sources) do
    if s.kind == "kafka" and not s.options.member and #d.keeps > 0 then
      found[#found + 1] = {
        where = s.where,
        message = "the flow keeps state by key and reads as a member of the group '"
          .. s.options.group
          .. "': state does not move when the group gives a partition to another router, so let no"
          .. " other be in it, and give this one a name that stays (member)",
      }
    end
  end
  for i, c in ipairs(d.channels) do
    if not used("channel", i) then
      found[#found + 1] = {
        where = c.where,
        message = "no rule reads channel '" .. c.name .. "': what is sent to it goes nowhere",
      }
    end
  end
  return found
end

--- The graph as a plain table for C.
function M.plain(d, chains)
  local rules, plain_chains = {}, {}
  for i, rule in ipairs(d.rules) do
    rules[i] = { name = rule.name, where = rule.where, trial = rule.trial }
  end
  for i, stages in ipairs(chains) do
    plain_chains[i] = {}
    for j, stage in ipairs(stages) do
      plain_chains[i][j] = {
        by = type(stage.by) == "table" and stage.by or {},
        by_function = type(stage.by) == "function",
        rules = #stage.rules,
      }
    end
  end
  local array = require "moonweir.encode".array_mark
  local function list(t) -- a key that several chains have is marked already
    return getmetatable(t) and t or setmetatable(t, array)
  end
  for i in ipairs(plain_chains) do
    for _, stage in ipairs(plain_chains[i]) do
      list(stage.by)
    end
    list(plain_chains[i])
  end
  local keeps = {}
  for i, k in ipairs(d.keeps) do
    keeps[i] = {
      name = k.name,
      sort = k.sort,
      where = k.where,
      options = k.options,
      emits = k.emits,
      every = k.every,
      memory = k.memory,
    }
  end
  local models = {}
  for i, m in ipairs(d.models) do
    models[i] = { name = m.name, version = m.version, challenger = m.challenger }
  end
  return {
    flow = d.flow,
    models = list(models),
    keeps = list(keeps),
    stores = list(d.stores),
    dead = d.dead,
    sources = list(d.sources),
    sinks = list(d.sinks),
    captures = list(d.captures),
    channels = list(d.channels),
    rules = list(rules),
    chains = list(plain_chains),
    tests = #d.tests,
    warnings = list(M.lint(d)),
  }
end

return M
