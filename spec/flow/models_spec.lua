--- Models as their trainers saved them, against what their trainers predict: spec/models/trainers.py and pipelines.py make both.
local s = require "support"
local python = require "python"

local function rows_of(path)
  local list = {}
  for line in io.lines(path) do
    list[#list + 1] = s.json.decode(line)
  end
  return list
end

local function numbers(value)
  local list = type(value) == "table" and value or { value }
  for i, v in ipairs(list) do
    if v == s.json.null then list[i] = 0 / 0 end
  end
  return list
end

--- Contributions as their trainers write them: of each output every feature's, then the base.
local function contributions(value, features)
  local list = {}
  for _, output in ipairs(value[1] and value or { value }) do
    for _, name in ipairs(features) do
      list[#list + 1] = output.features[name]
    end
    list[#list + 1] = output.base
  end
  return list
end

local function same(a, b, allowed)
  if a == b or (a ~= a and b ~= b) then return true end
  return math.abs(a - b) <= allowed * math.abs(b)
end

local function compare(case, what, got, want, allowed, least)
  assert.equal(#want, #got, case.name .. " " .. what)
  for i = 1, #want do
    local a, b = numbers(got[i]), numbers(want[i])
    assert.equal(#b, #a, ("%s %s, row %d"):format(case.name, what, i))
    for j = 1, #b do
      local good = same(a[j], b[j], allowed) or math.abs(a[j] - b[j]) <= (least or 0)
      assert(good, ("%s %s, row %d, %d: %.17g, not %.17g"):format(case.name, what, i, j, a[j], b[j]))
    end
  end
end

local function scores(folder, case, ...)
  local argv = { s.program, "score", folder .. "/" .. case.file, ... }
  if type(case.iterations) == "string" then
    argv[#argv + 1], argv[#argv + 2] = "--iterations", case.iterations
  end
  local input = ("%s/%s.rows.ndjson"):format(folder, case.name)
  local code, out, err = s.run(argv, { stdin = input }, 30)
  assert.equal(0, code, case.name .. ": " .. err)
  local list = {}
  for line in out:gmatch "[^\n]+" do
    list[#list + 1] = s.json.decode(line)
  end
  return list
end

local function features_of(folder, case)
  local _, out = s.run({ s.program, "model", "--json", folder .. "/" .. case.file }, nil, 10)
  return s.json.decode(out).features
end

describe("a trained model", function()
  local folder, cases

  setup(function()
    folder = python.made "trainers"
    cases = rows_of(folder .. "/cases.ndjson")
  end)

  -- the last bit of the trainer's precision; "near" where the trainer itself adds in no fixed order
  local function ulp(case) return case.near or (case.trainer == "xgboost" and 2 ^ -23 or 2 ^ -52) end
  local function each(what, check)
    local seen = 0
    for _, case in ipairs(cases) do
      local path = ("%s/%s.%s.ndjson"):format(folder, case.name, what)
      if s.read(path) ~= "" then
        seen = seen + 1
        check(case, rows_of(path))
      end
    end
    assert.is_true(seen > 60, what)
  end

  it("has its trainer's margins, to the last bit", function()
    each("margin", function(case, want)
      compare(case, "margin", scores(folder, case, "--margins"), want, case.near or 0)
    end)
  end)

  it("has its trainer's scores", function()
    each("score", function(case, want) compare(case, "score", scores(folder, case), want, ulp(case)) end)
  end)

  it("comes to its trainer's leaves", function()
    each("leaves", function(case, want) compare(case, "leaves", scores(folder, case, "--leaves"), want, 0) end)
  end)

  it("says why, as its trainer does, and the reasons add up to the margin", function()
    each("explain", function(case, want)
      local names, got = features_of(folder, case), {}
      local reasons = scores(folder, case, "--explain", "exact")
      for i, value in ipairs(reasons) do
        got[i] = contributions(value, names)
      end
      compare(case, "contributions", got, want, 1e-4, 1e-5)
      local margins = scores(folder, case, "--margins")
      for i, value in ipairs(scores(folder, case, "--explain", "path")) do
        local list, sum = contributions(value, names), 0
        for j = 1, #names + 1 do
          sum = sum + list[j]
        end
        local margin = numbers(margins[i])[1]
        assert.is_true(math.abs(sum - margin) <= 1e-4 * (1 + math.abs(margin)), case.name)
      end
    end)
  end)
end)

local function compare_scores(folder, least)
  local seen = 0
  for _, case in ipairs(rows_of(folder .. "/cases.ndjson")) do
    local want = rows_of(("%s/%s.score.ndjson"):format(folder, case.name))
    compare(case, "score", scores(folder, case), want, case.near, case.least)
    seen = seen + 1
  end
  assert.is_true(seen >= least)
end

describe("a model that an older XGBoost saved", function()
  it("has that one's scores", function() -- spec/data/xgboost: files and predictions of 1.3, 1.7 and 2.1
    local folder, seen = s.root .. "/spec/data/xgboost", 0
    for path in io.popen("ls " .. folder .. "/*.score.ndjson"):lines() do
      local name = path:match "([^/]+)%.score%.ndjson$"
      local case = { name = name, file = name .. ".json" }
      compare(case, "score", scores(folder, case), rows_of(path), name:match "lin$" and 1e-6 or 2 ^ -23)
      seen = seen + 1
    end
    assert.is_true(seen >= 19)
  end)
end)

describe("an ONNX model of trees or linear ones", function()
  it("has the scores of ONNX Runtime, which adds float32", function() compare_scores(python.made "onnx_models", 33) end)

  it("that has anything else is refused, and what it is is named", function()
    local code, _, err = s.run({ s.program, "model", python.made "onnx_models" .. "/none.onnx" }, nil, 10)
    assert.equal(2, code)
    assert.matches("there is no TreeEnsemble or Linear operator in it; its first operator is 'SVMClassifier'", err)
    code, _, err = s.run({ s.program, "model", python.made "onnx_models" .. "/by-rows.onnx" }, nil, 10)
    assert.equal(2, code)
    assert.matches("not by columns %(axis 1%) works the operator 'Gather'", err)
  end)
end)

describe("a PMML model of trees or regressions", function()
  -- JPMML does not know the scikit-learn of the other specs yet
  local function made() return python.made("pmml_models", s.root .. "/spec/models/pmml_requirements.txt", "python-pmml") end

  after_each(s.clean)

  it("has its trainer's scores", function() compare_scores(made(), 16) end)

  it("has JPMML's scores of predicates of every kind, whatever is missing, and of what is made of trees", function()
    compare_scores(python.made("pmml_predicates", s.root .. "/spec/models/pmml_requirements.txt", "python-pmml"), 80)
  end)

  it("has categories, default children, and every comparison", function()
    local function score(name, rows)
      local path = s.write(s.folder() .. "/rows", rows)
      return select(2, s.run({ s.program, "score", made() .. "/" .. name }, { stdin = path }, 10))
    end
    local rows = '{"v":0,"c":"red"}\n{"v":0,"c":"a \\"b\\""}\n{"v":1}\n{"v":6}\n{"v":0}\n{}\n{"v":5}\n{"v":5.5}\n'
    assert.equal("1\n2\n4\n3\n2\n4\n4\n3\n", score("pmml-tree.pmml", rows))
    -- a missing value: no prediction; the node's own or the next child's; as that, and null where none is true
    rows = '{"v":-1,"c":"red"}\n{"v":-1}\n{"v":1,"w":1}\n{"w":1}\n{"v":1}\n{"v":1,"w":-1}\n{}\n'
    assert.equal("2\nnull\n4\nnull\nnull\n10\nnull\n", score("pmml-nullPrediction-returnLastPrediction.pmml", rows))
    assert.equal("2\n1\n4\n4\n10\n10\n10\n", score("pmml-none-returnLastPrediction.pmml", rows))
    assert.equal("2\nnull\n4\n4\nnull\nnull\nnull\n", score("pmml-none-returnNullPrediction.pmml", rows))
    local got = score("pmml-regression.pmml", '{"v":2,"c":"red"}\n{"v":2,"c":"blue"}\n{"v":2,"c":"x"}\n')
    local list = {}
    for line in got:gmatch "[^\n]+" do
      list[#list + 1] = tonumber(line)
    end
    for i, want in ipairs { 1, math.exp(2), math.exp(1) } do
      assert.is_true(math.abs(list[i] - want) < 1e-12)
    end
  end)

  it("that has anything else is refused, and what it is is named", function()
    local code, _, err = s.run({ s.program, "model", made() .. "/none.pmml" }, nil, 10)
    assert.equal(2, code)
    assert.matches("a model of the kind 'ClusteringModel' is not supported", err)
    local odd = s.write(s.folder() .. "/odd.pmml", '<?xml version="1.0"?><!DOCTYPE PMML [<!ENTITY a "b">]><PMML/>')
    code, _, err = s.run({ s.program, "model", odd }, nil, 10)
    assert.equal(2, code)
    assert.matches("line 1: it has a document type", err)
    odd = s.write(s.folder() .. "/cut.pmml", s.read(made() .. "/pmml-tree.pmml"):sub(1, 700))
    code, _, err = s.run({ s.program, "model", "--kind", "pmml", odd }, nil, 10)
    assert.equal(2, code)
    assert.matches("line %d+: ", err)
  end)
end)

describe("a model of scikit-learn", function()
  it("has its trainer's scores, behind scalers, imputers and encoders, too", function() compare_scores(python.made "pipelines", 70) end)

  it("says why, where it is linear or of trees", function()
    local folder = python.made "pipelines"
    for _, name in ipairs { "sk-mixed-drop", "sk-mixed-forest", "sk-GradientBoosting-huber" } do
      local case = { name = name, file = name .. ".json" }
      local names, margins = features_of(folder, case), scores(folder, case, "--margins")
      for i, value in ipairs(scores(folder, case, "--explain", "exact")) do
        local list, sum = contributions(value, names), 0
        for j = 1, #names + 1 do
          sum = sum + list[j]
        end
        local margin = numbers(margins[i])[1]
        assert.is_true(math.abs(sum - margin) <= 1e-9 * (1 + math.abs(margin)), name)
      end
    end
  end)
end)

describe("a model's file", function()
  after_each(s.clean)

  local function refused(bytes, ...)
    local path = s.write(s.folder() .. "/model", bytes)
    local code, out, err = s.run({ s.program, "model", path, ... }, nil, 10)
    assert.equal(2, code, err)
    assert.equal("", out)
    return err
  end

  it("that is wrong is refused, and what is wrong is named", function()
    assert.matches("it is empty", refused "")
    assert.matches("it is a pickle", refused "\128\4\149")
    assert.matches("XGBoost's old binary format", refused "binf\0\0\0")
    assert.matches("no kind of model", refused "hello")
    assert.matches("it is no JSON", refused '{"learner": ')
    assert.matches("it has no learner", refused "{}")
    assert.matches("there is no kind of model 'catboost'", refused("{}", "--kind", "catboost"))
    assert.matches("max_feature_idx", refused "tree\nversion=v4\n")
    assert.matches("cannot be opened", select(3, s.run({ s.program, "model", "/nowhere" }, nil, 10)))
  end)

  it("that is cut off or damaged anywhere is refused or scored, never more", function()
    local folder = python.made "trainers"
    for _, name in ipairs { "xgb-ubj-classes.ubj", "xgb-codes.json", "lgb-categories.txt", "lgb-linear.txt" } do
      local bytes = s.read(folder .. "/" .. name)
      for i = 1, 25 do
        local at = math.floor(#bytes * i / 26)
        local cut = s.write(s.folder() .. "/cut", bytes:sub(1, at))
        local code, _, err = s.run({ s.program, "model", cut }, nil, 10)
        local over = name:match "txt$" and bytes:sub(1, at):match "end of trees"
        assert.equal(over and 0 or 2, code, name .. " at " .. at .. ": " .. err)
        local odd = s.write(s.folder() .. "/odd", bytes:sub(1, at) .. "9" .. bytes:sub(at + 2))
        code, _, err = s.run({ s.program, "score", odd }, nil, 10)
        assert.is_true(code == 0 or code == 2, err)
      end
      s.clean()
    end
  end)

  it("that cannot be explained, or has no leaves, says so and nothing else", function()
    local folder = python.made "trainers"
    local onnx = python.made "onnx_models"
    for path, how in pairs {
      [folder .. "/lgb-linear.txt"] = { "--explain", "exact" },
      [folder .. "/xgb-linear.json"] = { "--leaves" },
      [onnx .. "/onnx-RandomForestRegressor.onnx"] = { "--explain", "path" }, -- nor does it know covers
    } do
      local rows = s.write(s.folder() .. "/rows", path:match "onnx$" and "[1,1,1,1,1]\n" or "[1,1,1,1,1,1]\n")
      local code, out, err = s.run({ s.program, "score", path, unpack(how) }, { stdin = rows }, 10)
      assert.equal(1, code)
      assert.equal("", out)
      assert.matches(how[1] == "--leaves" and "has no leaves" or "cannot be explained", err)
    end
  end)

  it("tells what it is", function()
    local folder = python.made "trainers"
    local _, out = s.run({ s.program, "model", "--json", folder .. "/xgb-ubj-classes.ubj" }, nil, 10)
    local about = s.json.decode(out)
    assert.equal("xgboost", about.kind)
    assert.equal("multi:softprob", about.objective)
    assert.equal(3, about.outputs)
    assert.equal(36, about.trees)
    assert.same({ "f0", "f1", "f2", "f3", "f4", "f5" }, about.features)
    assert.is_true(about.depth <= 4 and about.nodes > 100)
  end)
end)

describe("a row", function()
  after_each(s.clean)

  local function score(text, name)
    local model = python.made "trainers" .. "/" .. (name or "lgb-names.txt")
    local path = s.write(s.folder() .. "/rows", text)
    return s.run({ s.program, "score", model }, { stdin = path }, 10)
  end

  it("has features by name, also in objects, or as a list", function()
    local plain = '{"a.b":1,"a.c.d":2,"größer":3,"x_y":4,"Z":5}'
    local nested = '{"a":{"b":1,"c":{"d":2,"e":[1]}},"gr\\u00f6\\u00dfer":3,"x_y":4,"Z":5,"more":{"a":{}}}'
    local _, want = score(plain)
    local code, out, err = score(nested .. "\n\n[1,2,3,4,null,5]\n{\"a.b\":true,\"a.c.d\":2e0,\"größer\":3,\"x_y\":4,\"a\":NaN,\"Z\":5.0}\n")
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(want:rep(3), out)
  end)

  it("that is wrong ends the run at its line, behind the scores of those before", function()
    for text, fault in pairs {
      ['{"x_y":"red"}'] = "stdin:2: the feature 'x_y' is a text, and the model knows no categories of it %(red%)",
      ['{"x_y":[1]}'] = "stdin:2: the feature 'x_y' is a list",
      ["[1,2]"] = "stdin:2: the row has 2 values, and the model 6 features",
      ["5"] = "stdin:2: a row is an object or a list",
      ['{"x_y":1'] = "stdin:2: it is no JSON from byte",
    } do
      local code, out, err = score("{}\n" .. text .. "\n{}\n")
      assert.equal(1, code)
      assert.matches("^[^\n]+\n$", out)
      assert.matches(fault, err)
    end
  end)
end)
