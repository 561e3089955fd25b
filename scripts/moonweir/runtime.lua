--- Where C enters: loads a flow, gives its graph, makes its drivers.
local core = require "moonweir.core"
local event = require "moonweir.event"
local encode = require "moonweir.encode"
local declare = require "moonweir.declare"
local sandbox = require "moonweir.sandbox"
local graph = require "moonweir.graph"
local driver = require "moonweir.driver"
local budget = require "moonweir.budget"
local trial = require "moonweir.trial"
local audit = require "moonweir.audit"
local park = require "moonweir.park"
local C, R = core.C, core.view()

local M = {}

-- long flows need more and larger traces than the defaults allow
jit.opt.start(
  "maxtrace=20000",
  "maxrecord=16000",
  "maxirconst=4000",
  "maxside=1000",
  "maxsnap=2000",
  "sizemcode=256",
  "maxmcode=65536"
)

--- Seconds that a flow may take to be loaded, of processor time.
local LOAD_SECONDS = 1

local declared, chains
local flow_path, environment_variables, kinds

--- C's: the text of a file (nil and why not), source text with a budget put in, the text of a
--- module that comes with the router, the rows of a text in a format, and a model of a file.
local read_file, add_budget, read_module, read_rows, digest, load_model, make_detector

--- What a file's text is compiled to, by path: a function that gives the file's function anew.
local compiled = {}

local function compile(text, path)
  if text:byte(1) == 27 then
    error(path .. ": bytecode is not accepted: a flow is Lua source", 0)
  end
  -- compiled as it is first, so that errors are about what is written there
  local fn, why = load(text, "@" .. path, "t")
  if fn then
    fn, why = add_budget(text, path)
  end
  if not fn then error(why, 0) end
  return assert(load(fn, "@" .. path, "t"))
end

local function load_text(text, path, env)
  compiled[path] = compiled[path] or compile(text, path)
  return setfenv(compiled[path], env)()(budget.table)
end

--- Runs the flow's file, and the modules that it requires, in an environment of their own: declares
--- everything anew.
local function declare_all()
  local folder = flow_path:match "^(.*/)[^/]*$" or ""
  local host = { rows = read_rows, digest = digest, detector = make_detector }
  function host.model(path, kind, first, count)
    if path:sub(1, 1) ~= "/" then path = folder .. path end
    return load_model(path, kind, first, count)
  end
  function host.read_file(path)
    if path:sub(1, 1) ~= "/" then path = folder .. path end
    return read_file(path)
  end
  local mw, d = declare.new(kinds, environment_variables, host)
  local environment = sandbox.environment(mw, function(name, flow_env)
    if name:find("..", 1, true) or name:find "[^%w_%-%.]" then
      error("a module is named by letters, digits, '_', '-' and '.', not '" .. name .. "'", 3)
    end
    local own = name:match "^moonweir%.([%w_]+)$"
    if own then
      local text = read_module(own)
      if not text then error("there is no module '" .. name .. "'", 3) end
      return load_text(text, "moonweir/" .. own .. ".lua", flow_env)(name)
    end
    local file = folder .. name:gsub("%.", "/") .. ".lua"
    local text, why = read_file(file)
    if not text then error("cannot load module '" .. name .. "': " .. tostring(why), 3) end
    return load_text(text, file, flow_env)(name)
  end)
  local text, why = read_file(flow_path)
  if not text then error("cannot read the flow: " .. tostring(why), 0) end
  budget.begin("loading the flow", LOAD_SECONDS)
  sandbox.loading = true
  load_text(text, flow_path, environment)()
  sandbox.loading = false
  if #d.sources == 0 then error(flow_path .. ":1: the flow declares no source", 0) end
  graph.add_buffers(d)
  graph.add_clock(d)
  trial.resolve(d)
  audit.resolve(d)
  for _, rule in ipairs(d.rules) do
    budget.limits[rule.number] = rule.timeout
  end
  declared = d
  chains = graph.chains(d, R.shards == 1 and #d.stores == 0)
end

--- Loads a flow. `kinds_text` is JSON; errors are raised as text that begins with file:line.
---@param host table what it uses of C: read_file, add_budget, read_module, rows, digest, model,
--- detector
---@return string graph as JSON
function M.load(path, kinds_text, env, version, host)
  read_file, add_budget = host.read_file, host.add_budget
  read_module, read_rows, digest = host.read_module, host.rows, host.digest
  load_model, make_detector = host.model, host.detector
  declare.version = version
  flow_path, environment_variables = path, env
  kinds = assert(event.decode_text(kinds_text))
  declare_all()
  return encode.encode_text(graph.plain(declared, chains))
end

--- Begins again, as if the flow were loaded now: nothing that its rules keep is left. For fixtures.
---@return function[][] drivers
function M.again()
  C.mw_view_forget(R)
  declare_all()
  return M.build()
end

--- Makes the drivers. After load; on a shard that will run them.
---@return function[][] drivers by chain and stage
function M.build()
  for _, kept in ipairs(declared.keeps) do
    if kept.bind then kept.bind() end
  end
  for _, model in ipairs(declared.models) do
    model.bind()
  end
  local waits = #declared.stores > 0 or (R.shards > 1 and #declared.keeps > 0)
  local drivers = driver.build(chains, #declared.sources, declared.keeps, waits)
  if not waits then return drivers end
  for _, stages in ipairs(drivers) do
    for i, run in ipairs(stages) do
      stages[i] = function() park.run(run) end
    end
  end
  return drivers
end

--- A rule goes on that waited for the answer to a question. For C.
M.resume = park.resume

--- Functions that leave the hash of each row's key in R.hashes, for stages whose `by` is a
--- function.
---@return table<integer, table<integer, function>>
function M.keyers()
  local keyers = {}
  for i, stages in ipairs(chains) do
    keyers[i] = {}
    for j, stage in ipairs(stages) do
      local by = stage.by
      keyers[i][j] = type(by) == "function"
          and function()
            for row = R.row, R.given - 1 do
              R.row, R.values = row, R.slots + row * R.stride
              budget.refill()
              local ok, key = pcall(by, event.new(row, R.generation))
              if not ok then
                local why = "in the key of a rule: " .. tostring(key)
                C.mw_view_fail(R, row, stage.rules[1].number, R.send_count, why, #why)
                R.events[row].dead = 1
                key = ""
              end
              key = tostring(key)
              R.hashes[row] = C.mw_key_of_text(key, #key)
            end
          end
        or false
    end
  end
  return keyers
end

--- What the flow's files were compiled to, by path. For coverage.
function M.compiled() return compiled end
M.declared = function() return declared end

return M
