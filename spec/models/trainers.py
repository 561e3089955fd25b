"""Writes a matrix of models, rows, and what their trainers say of them.

    trainers.py FOLDER

For each case NAME: NAME.json, .ubj or .txt (the model as its trainer saved it), NAME.rows.ndjson,
NAME.score.ndjson, NAME.margin.ndjson, NAME.leaves.ndjson and NAME.explain.ndjson (what the trainer
predicts, one row a line), and a line in cases.ndjson. Rows hold what is hard: values equal to
thresholds and their neighbours, NaN, infinities, denormals, zeros of both signs, categories that
were never seen.
"""
import json
import math
import re
import sys

import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb

FEATURES = 6
rng = np.random.default_rng(7)
folder = sys.argv[1]
cases = open(f"{folder}/cases.ndjson", "w")


def plain(value):
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.ravel().tolist()] if value.size != 1 else plain(value.ravel()[0])
    if isinstance(value, (np.floating, float)):
        return float(value)
    return value if isinstance(value, str) or value is None else int(value)


def write(path, rows):
    with open(path, "w") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")


def numbers(count=500, missing=0.1):
    x = rng.normal(size=(count, FEATURES))
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 2] = rng.integers(-3, 4, count)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def target(x):
    z = np.nan_to_num(x)
    return z[:, 0] + 0.5 * z[:, 1] * z[:, 2] - np.abs(z[:, 3]) + 0.1 * rng.normal(size=len(z))


def hard_rows(thresholds, infinite=True):
    """Rows at, just below and just above thresholds, and odd values."""
    rows = []
    for feature, t in thresholds[:150]:
        for v in (t, np.nextafter(t, -np.inf), np.nextafter(t, np.inf), np.float32(t),
                  np.nextafter(np.float32(t), np.float32(-np.inf)), np.nextafter(np.float32(t), np.float32(np.inf))):
            row = rng.normal(size=FEATURES)
            row[feature] = v
            rows.append(row)
    odd = [np.nan, 0.0, -0.0, 5e-324, -5e-324, 1e-45, 1e-36, -1e-36, 1e-35, 1.0000001e-35, 1e-34, 1e38, 1e-300]
    if infinite:
        odd += [np.inf, -np.inf, 1e300, -1e300]
    for v in odd:
        for feature in range(FEATURES):
            row = rng.normal(size=FEATURES)
            row[feature] = v
            rows.append(row)
        rows.append(np.full(FEATURES, v))
    return np.vstack([rows, numbers(100, 0.3)])


def record(name, file, rows, names, score, margin=None, leaves=None, explain=None, **more):
    def objects():
        for row in rows:
            yield {n: v for n, v in zip(names, row) if not (isinstance(v, float) and math.isnan(v))}
    write(f"{folder}/{name}.rows.ndjson", objects())
    for what, values in (("score", score), ("margin", margin), ("leaves", leaves), ("explain", explain)):
        if values is not None:
            write(f"{folder}/{name}.{what}.ndjson", [plain(np.asarray(v)) for v in values])
    cases.write(json.dumps({"name": name, "file": file, **more}) + "\n")


# ---- XGBoost ----

def xgb_thresholds(path):
    trees = json.load(open(path))["learner"]["gradient_booster"]
    trees = (trees.get("gbtree") or trees)["model"]["trees"]
    return [(t["split_indices"][i], float(t["split_conditions"][i]))
            for t in trees for i, left in enumerate(t["left_children"]) if left != -1]


def xgb_case(name, params, y=None, rounds=12, x=None, extension="json", matrix=None, span=None, weight=None):
    x = numbers() if x is None else x
    d = xgb.DMatrix(x, label=target(x) if y is None else y(x), weight=weight)
    if matrix:
        matrix(d)
    b = xgb.train({"max_depth": 4, "eta": 0.3, "seed": 1, "nthread": 1, "base_score": None, **params}, d, rounds)
    b.save_model(f"{folder}/{name}.json")
    rows = hard_rows(xgb_thresholds(f"{folder}/{name}.json"), infinite=False)
    b.save_model(f"{folder}/{name}.{extension}")
    dart = params.get("booster") == "dart"
    vectors = params.get("multi_strategy") == "multi_output_tree"
    rows32 = xgb.DMatrix(rows)
    more = {"iteration_range": span} if span else {}
    record(name, f"{name}.{extension}", rows.astype(np.float32).astype(float), [f"f{i}" for i in range(FEATURES)],
           b.predict(rows32, **more), b.predict(rows32, output_margin=True, **more),
           None if span else b.predict(rows32, pred_leaf=True),
           None if vectors or span else b.predict(rows32, pred_contribs=True), trainer="xgboost",
           iterations=f"{span[0]}:{span[1]}" if span else None)


def positive(x):
    return np.exp(target(x) / 2)


def classes(count):
    return lambda x: np.digitize(target(x), [-0.7, 0.6, 1.4][:count - 1])


for objective in ("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror"):
    xgb_case("xgb-" + objective.replace(":", "-"), {"objective": objective}, positive)
for objective in ("reg:logistic", "binary:logistic", "binary:logitraw", "binary:hinge"):
    xgb_case("xgb-" + objective.replace(":", "-"), {"objective": objective}, lambda x: (target(x) > 0).astype(int))
for objective in ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"):
    xgb_case("xgb-" + objective.replace(":", "-"), {"objective": objective}, lambda x: np.ceil(positive(x)))
for objective in ("rank:pairwise", "rank:ndcg", "rank:map"):
    xgb_case("xgb-" + objective.replace(":", "-"), {"objective": objective}, lambda x: (target(x) > 0).astype(int),
             matrix=lambda d: d.set_group([100] * 5))


def censored(d):
    y = d.get_label()
    d.set_float_info("label_lower_bound", y)
    d.set_float_info("label_upper_bound", np.where(rng.random(len(y)) < 0.3, np.inf, y).astype(np.float32))


xgb_case("xgb-aft", {"objective": "survival:aft"}, positive, matrix=censored)
for objective in ("multi:softmax", "multi:softprob"):
    xgb_case("xgb-" + objective.replace(":", "-"), {"objective": objective, "num_class": 4}, classes(4))
    xgb_case("xgb-parallel-" + objective.replace(":", "-"),
             {"objective": objective, "num_class": 3, "num_parallel_tree": 3, "subsample": 0.6, "eta": 1}, classes(3), rounds=2)
xgb_case("xgb-quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]})
xgb_case("xgb-targets", {"objective": "reg:squarederror"}, lambda x: np.column_stack([target(x), x[:, 0] > 0]))
xgb_case("xgb-vector-leaves", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree", "tree_method": "hist"},
         lambda x: np.column_stack([target(x), positive(x)]))
xgb_case("xgb-vector-classes", {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree", "tree_method": "hist"},
         classes(3))
xgb_case("xgb-dart", {"booster": "dart", "rate_drop": 0.4, "objective": "binary:logistic"}, lambda x: (target(x) > 0).astype(int))
xgb_case("xgb-dart-classes", {"booster": "dart", "rate_drop": 0.4, "objective": "multi:softprob", "num_class": 3}, classes(3))
xgb_case("xgb-exact", {"tree_method": "exact", "objective": "reg:squarederror"})
xgb_case("xgb-approx-lossguide", {"tree_method": "approx", "grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0})
xgb_case("xgb-deep", {"max_depth": 12, "min_child_weight": 0}, rounds=30)
xgb_case("xgb-stump", {"max_depth": 1}, rounds=40)
xgb_case("xgb-nothing", {"gamma": 1e9}, rounds=3)
xgb_case("xgb-forest", {"num_parallel_tree": 20, "subsample": 0.7, "colsample_bynode": 0.5, "eta": 1}, rounds=1)
xgb_case("xgb-base-score", {"base_score": 0.9, "objective": "binary:logistic"}, lambda x: (target(x) > 0).astype(int))
xgb_case("xgb-ubj", {"objective": "binary:logistic"}, lambda x: (target(x) > 0).astype(int), extension="ubj")
xgb_case("xgb-ubj-classes", {"objective": "multi:softprob", "num_class": 3}, classes(3), extension="ubj")
xgb_case("xgb-range", {"objective": "multi:softprob", "num_class": 3}, classes(3), span=(3, 9))
xgb_case("xgb-monotone", {"monotone_constraints": "(1,0,0,-1,0,0)"})


def frames(count, last="größer"):
    x = numbers(count)
    colours = np.array(["red", "green", "blue", "dark \"blue\"", "a,b", last])
    frame = pd.DataFrame(x, columns=[f"n{i}" for i in range(FEATURES)])
    code = rng.integers(0, len(colours), count)
    frame["colour"] = pd.Categorical(colours[code], categories=colours)
    many = rng.integers(0, 70, count)
    frame["shop"] = pd.Categorical([f"s{i}" for i in many], categories=[f"s{i}" for i in range(70)])
    frame.loc[rng.random(count) < 0.1, "colour"] = None
    y = target(x) + (code % 3) + np.sin(many)
    return frame, y


def frame_rows(frame):
    for row in frame.itertuples(index=False):
        yield [None if v is None or v is pd.NA or (isinstance(v, float) and math.isnan(v)) else v for v in row]


def category_case(name, params, unknown=False):
    frame, y = frames(800, "grey")  # XGBoost 3.2 cuts texts that are not ASCII when it saves them
    d = xgb.DMatrix(frame, label=y, enable_categorical=True)
    b = xgb.train({"max_depth": 5, "nthread": 1, "tree_method": "hist", **params}, d, 15)
    b.save_model(f"{folder}/{name}.json")
    fresh, _ = frames(300, "grey")
    d = xgb.DMatrix(fresh, enable_categorical=True)
    record(name, f"{name}.json", list(frame_rows(fresh)), list(frame.columns), b.predict(d), b.predict(d, output_margin=True),
           b.predict(d, pred_leaf=True), b.predict(d, pred_contribs=True), trainer="xgboost")


category_case("xgb-categories", {})
category_case("xgb-categories-one-hot", {"max_cat_to_onehot": 100})


def code_case(name):
    """Categories as numbers: codes that were not seen, negative and broken ones."""
    x = np.column_stack([numbers(800), rng.integers(0, 40, 800)])
    y = target(x) + np.sin(x[:, FEATURES])
    kinds = ["q"] * FEATURES + ["c"]
    names = [f"v.{i}" for i in range(FEATURES + 1)]
    d = xgb.DMatrix(x, label=y, feature_types=kinds, feature_names=names, enable_categorical=True)
    b = xgb.train({"max_depth": 5, "nthread": 1, "tree_method": "hist"}, d, 15)
    b.save_model(f"{folder}/{name}.json")
    rows = np.column_stack([numbers(300), rng.integers(0, 60, 300)])
    rows[:20, FEATURES] = np.nan
    rows[20:40, FEATURES] = 1000
    d = xgb.DMatrix(rows, feature_types=kinds, feature_names=names, enable_categorical=True)
    record(name, f"{name}.json", rows.astype(np.float32).astype(float), names, b.predict(d), b.predict(d, output_margin=True),
           b.predict(d, pred_leaf=True), b.predict(d, pred_contribs=True), trainer="xgboost")


code_case("xgb-codes")


def linear_case(name, params, y=None):
    x = numbers(missing=0)
    d = xgb.DMatrix(x, label=target(x) if y is None else y(x))
    b = xgb.train({"booster": "gblinear", "nthread": 1, "updater": "coord_descent", **params}, d, 10)
    b.save_model(f"{folder}/{name}.json")
    rows = numbers(200, 0.2).astype(np.float32)
    d = xgb.DMatrix(rows)
    record(name, f"{name}.json", rows.astype(float), [f"f{i}" for i in range(FEATURES)], b.predict(d),
           b.predict(d, output_margin=True), None, b.predict(d, pred_contribs=True), trainer="xgboost", near=1e-6)


linear_case("xgb-linear", {})
linear_case("xgb-linear-classes", {"objective": "multi:softprob", "num_class": 3}, classes(3))


# ---- LightGBM ----

def lgb_thresholds(path):
    found = []
    for tree in open(path).read().split("\n\nTree=")[0:]:
        f, t = re.search(r"^split_feature=(.*)$", tree, re.M), re.search(r"^threshold=(.*)$", tree, re.M)
        if f and t and f[1]:
            found += list(zip(map(int, f[1].split()), map(float, t[1].split())))
    return found


def lgb_case(name, params, y=None, rounds=12, x=None, rows=None, group=None, span=None, names=None):
    x = numbers() if x is None else x
    names = names or [f"Column_{i}" for i in range(x.shape[1])]
    d = lgb.Dataset(x, target(x) if y is None else y(x), group=group,
                    feature_name=names if names[0] != "Column_0" else "auto", params={"verbose": -1})
    b = lgb.train({"num_leaves": 15, "min_data_in_leaf": 5, "verbose": -1, "seed": 1, "num_threads": 1, **params}, d, rounds)
    b.save_model(f"{folder}/{name}.txt", num_iteration=-1)
    b = lgb.Booster(model_file=f"{folder}/{name}.txt")
    if rows is None:
        rows = hard_rows(lgb_thresholds(f"{folder}/{name}.txt"))
    more = {"start_iteration": span[0], "num_iteration": span[1] - span[0]} if span else {}
    linear = params.get("linear_tree")
    record(name, f"{name}.txt", rows, names, b.predict(rows, **more), b.predict(rows, raw_score=True, **more),
           b.predict(rows, pred_leaf=True, **more),
           None if linear or span else b.predict(rows, pred_contrib=True), trainer="lightgbm",
           iterations=f"{span[0]}:{span[1]}" if span else None)


for objective in ("regression", "regression_l1", "huber", "fair", "quantile", "mape"):
    lgb_case(f"lgb-{objective}", {"objective": objective}, lambda x: target(x) + 10)
for objective in ("poisson", "gamma", "tweedie"):
    lgb_case(f"lgb-{objective}", {"objective": objective}, positive)
for objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
    lgb_case(f"lgb-{objective}", {"objective": objective}, lambda x: (target(x) > 0).astype(int))
for objective in ("multiclass", "multiclassova"):
    lgb_case(f"lgb-{objective}", {"objective": objective, "num_class": 4}, classes(4))
for objective in ("lambdarank", "rank_xendcg"):
    lgb_case(f"lgb-{objective}", {"objective": objective}, lambda x: (target(x) > 0).astype(int), group=[100] * 5)
lgb_case("lgb-sigmoid", {"objective": "binary", "sigmoid": 2.5}, lambda x: (target(x) > 0).astype(int))
lgb_case("lgb-sqrt", {"objective": "regression", "reg_sqrt": True}, lambda x: 10 * target(x))
lgb_case("lgb-dart", {"boosting": "dart", "drop_rate": 0.5})
lgb_case("lgb-goss", {"data_sample_strategy": "goss"}, rounds=20)
lgb_case("lgb-rf", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.7})
lgb_case("lgb-rf-classes", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "objective": "multiclass", "num_class": 3}, classes(3))
lgb_case("lgb-zero-missing", {"zero_as_missing": True})
lgb_case("lgb-no-missing", {"use_missing": False})
lgb_case("lgb-whole", {}, x=numbers(missing=0))
lgb_case("lgb-zero-and-nan", {"zero_as_missing": True}, x=np.where(rng.random((500, FEATURES)) < 0.3, 0, numbers()))
lgb_case("lgb-linear", {"linear_tree": True}, rounds=8)
lgb_case("lgb-linear-classes", {"linear_tree": True, "objective": "multiclass", "num_class": 3}, classes(3), rounds=5)
lgb_case("lgb-leaves-31", {"num_leaves": 31, "min_data_in_leaf": 1}, rounds=40)
lgb_case("lgb-leaves-64", {"num_leaves": 64, "min_data_in_leaf": 1}, rounds=10)
lgb_case("lgb-leaves-200", {"num_leaves": 200, "min_data_in_leaf": 1}, rounds=10)
lgb_case("lgb-nothing", {"min_data_in_leaf": 1000})
lgb_case("lgb-range", {"objective": "multiclass", "num_class": 3}, classes(3), span=(4, 10))
lgb_case("lgb-names", {}, names=["a.b", "a.c.d", "größer", "x_y", "a", "Z"])


def lgb_categories(name, params):
    frame, y = frames(800)
    d = lgb.Dataset(frame, y, params={"verbose": -1})
    b = lgb.train({"num_leaves": 15, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "min_data_per_group": 5, **params}, d, 15)
    b.save_model(f"{folder}/{name}.txt")
    fresh, _ = frames(300)
    seen = frame_rows(fresh)
    for column, odd in (("colour", "violet"), ("shop", "s99")):
        fresh[column] = fresh[column].cat.add_categories([odd])
        fresh.loc[rng.random(300) < 0.05, column] = odd
    record(name, f"{name}.txt", list(frame_rows(fresh)), list(frame.columns), b.predict(fresh), b.predict(fresh, raw_score=True),
           b.predict(fresh, pred_leaf=True), b.predict(fresh, pred_contrib=True), trainer="lightgbm")


lgb_categories("lgb-categories", {})
lgb_categories("lgb-categories-one-hot", {"max_cat_to_onehot": 100})


def lgb_codes(name):
    x = np.column_stack([numbers(800), rng.integers(0, 100, 800)])
    d = lgb.Dataset(x, target(x) + np.sin(x[:, FEATURES]), categorical_feature=[FEATURES], params={"verbose": -1})
    b = lgb.train({"num_leaves": 15, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}, d, 15)
    b.save_model(f"{folder}/{name}.txt")
    rows = np.column_stack([numbers(400), rng.integers(-3, 130, 400) + rng.choice([0, 0.5, -0.5], 400)])
    rows[:20, FEATURES] = np.nan
    rows[20:30, FEATURES], rows[30:40, FEATURES], rows[40:50, FEATURES] = 1e12, -1e12, -0.0
    record(name, f"{name}.txt", rows, [f"Column_{i}" for i in range(FEATURES + 1)], b.predict(rows),
           b.predict(rows, raw_score=True), b.predict(rows, pred_leaf=True), b.predict(rows, pred_contrib=True), trainer="lightgbm")


lgb_codes("lgb-codes")
cases.close()
