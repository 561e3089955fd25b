"""Writes ONNX models of trees and linear models, rows, and what ONNX Runtime says of them: the files of trainers.py, of scores alone
(of two classes the second's probability).

    onnx_models.py FOLDER
"""
import json
import sys
import warnings

import lightgbm as lgb
import numpy as np
import onnxmltools
import onnxruntime as ort
import pandas as pd
from onnx import TensorProto, helper
import xgboost as xgb
from onnxmltools.convert.common.data_types import FloatTensorType as OtherFloats
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (ExtraTreesClassifier, GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier,
                              RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

warnings.simplefilter("ignore")
folder = sys.argv[1]
rng = np.random.default_rng(3)
cases = open(f"{folder}/cases.ndjson", "w")
x = rng.normal(size=(600, 5)).astype(np.float32)
z = x[:, 0] + 0.5 * x[:, 1] * x[:, 2] - np.abs(x[:, 3])
halves, classes = (z > -0.5).astype(int), np.digitize(z, [-1, 0.3])
rows = rng.normal(size=(300, 5)).astype(np.float32)
holes = np.where(rng.random(rows.shape) < 0.2, np.nan, rows).astype(np.float32)


def case(name, model, rows=rows):
    with open(f"{folder}/{name}.onnx", "wb") as f:
        f.write(model.SerializeToString())
    session = ort.InferenceSession(f"{folder}/{name}.onnx", providers=["CPUExecutionProvider"])
    scores = session.run([session.get_outputs()[-1].name], {session.get_inputs()[0].name: rows})[0]
    with open(f"{folder}/{name}.rows.ndjson", "w") as f:
        for row in rows.tolist():
            f.write(json.dumps([None if np.isnan(v) else v for v in row]) + "\n")
    with open(f"{folder}/{name}.score.ndjson", "w") as f:
        for s in np.asarray(scores, dtype=float).reshape(len(rows), -1).tolist():
            f.write(json.dumps(s[1] if len(s) == 2 else s[0] if len(s) == 1 else s) + "\n")
    cases.write(json.dumps({"name": name, "file": f"{name}.onnx", "trainer": "onnx", "near": 1e-5, "least": 1e-6}) + "\n")


def frames(name, model, rows):
    """The same for inputs of one column each."""
    with open(f"{folder}/{name}.onnx", "wb") as f:
        f.write(model.SerializeToString())
    session = ort.InferenceSession(f"{folder}/{name}.onnx", providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(string)": object}
    scores = session.run([session.get_outputs()[-1].name], {i.name: rows[[i.name]].to_numpy().astype(kinds[i.type]) for i in session.get_inputs()})[0]
    rows.to_json(f"{folder}/{name}.rows.ndjson", orient="records", lines=True, double_precision=15)
    with open(f"{folder}/{name}.score.ndjson", "w") as f:
        f.writelines(json.dumps(float(s[1])) + "\n" for s in scores)
    cases.write(json.dumps({"name": name, "file": f"{name}.onnx", "trainer": "onnx", "near": 1e-5, "least": 1e-6}) + "\n")


def of_sklearn(name, model, y, rows=rows, x=x):
    model.fit(x, y)
    case(name, to_onnx(model, initial_types=[("x", FloatTensorType([None, 5]))], target_opset=15, options={"zipmap": False} if hasattr(model, "classes_") else None), rows)


for y, kind in ((halves, "2"), (classes, "3")):
    for model in (DecisionTreeClassifier(max_depth=6), RandomForestClassifier(20), ExtraTreesClassifier(20), GradientBoostingClassifier(n_estimators=20),
                  LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        of_sklearn(f"onnx-{type(model).__name__}-{kind}", model, y)
for model in (DecisionTreeRegressor(max_depth=6), RandomForestRegressor(20), GradientBoostingRegressor(n_estimators=20), LinearRegression(),
              make_pipeline(StandardScaler(), RandomForestRegressor(10))):
    of_sklearn(f"onnx-{type(model).__name__}", model, z)
of_sklearn("onnx-imputed", make_pipeline(SimpleImputer(), StandardScaler(), RandomForestRegressor(10)), z, holes, np.where(rng.random(x.shape) < 0.1, np.nan, x))

floats = [("x", OtherFloats([None, 5]))]
for objective, y, more in (("binary:logistic", halves, {}), ("multi:softprob", classes, {"num_class": 3}), ("reg:squarederror", z, {})):
    b = xgb.train({"objective": objective, "max_depth": 4, **more}, xgb.DMatrix(x, label=y), 15)
    case("onnx-xgb-" + objective.replace(":", "-"), onnxmltools.convert_xgboost(b, initial_types=floats, target_opset=15), holes)
for objective, y, more in (("binary", halves, {}), ("multiclass", classes, {"num_class": 3}), ("regression", z, {})):
    b = lgb.train({"objective": objective, "num_leaves": 15, "verbose": -1, **more}, lgb.Dataset(x, y), 15)
    case(f"onnx-lgb-{objective}", onnxmltools.convert_lightgbm(b, initial_types=floats, target_opset=15, zipmap=False))

# trees of every mode at once, on whole numbers, so that values are at the thresholds, and NaN
grid = rng.integers(-3, 4, (400, 5)).astype(np.float32)
grid = np.where(rng.random(grid.shape) < 0.2, np.nan, grid).astype(np.float32)
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"]
for tracks in (False, True):
    nodes = {k: [] for k in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true")}
    leaves = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(12):
        for node in range(63):
            leaf = node >= 31
            for k, v in (("treeids", tree), ("nodeids", node), ("featureids", int(rng.integers(5))), ("values", 0.0 if leaf else float(rng.integers(-3, 4))),
                         ("modes", "LEAF" if leaf else str(rng.choice(MODES))), ("truenodeids", 0 if leaf else 2 * node + 1),
                         ("falsenodeids", 0 if leaf else 2 * node + 2), ("missing_value_tracks_true", int(tracks and rng.random() < 0.5))):
                nodes[k].append(v)
            if leaf:
                for k, v in (("treeids", tree), ("nodeids", node), ("ids", 0), ("weights", float(rng.integers(1, 99)))):
                    leaves[k].append(v)
    made = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **{f"nodes_{k}": v for k, v in nodes.items()},
                            **{f"target_{k}": v for k, v in leaves.items()})
    graph = helper.make_graph([made], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 5])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])])
    case(f"onnx-modes-{tracks}", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8), grid)
b = lgb.train({"objective": "regression", "num_leaves": 15, "verbose": -1, "min_data_per_group": 5, "cat_smooth": 1},
              lgb.Dataset(np.column_stack([rng.integers(0, 9, 600), x[:, 1:]]), z, categorical_feature=[0]), 15)
case("onnx-lgb-categories", onnxmltools.convert_lightgbm(b, initial_types=floats, target_opset=15, zipmap=False),
     np.column_stack([rng.integers(0, 12, 300), rows[:, 1:]]).astype(np.float32))

# whole numbers by a Cast, and columns by a Gather
steps = [helper.make_node("Gather", ["x", "which"], ["some"], axis=1), helper.make_node("Cast", ["some"], ["whole"], to=TensorProto.INT64),
         helper.make_node("OneHotEncoder", ["whole"], ["hot"], domain="ai.onnx.ml", cats_int64s=[-1, 0, 1]),
         helper.make_node("Reshape", ["hot", "flat"], ["seen"]), helper.make_node("LinearRegressor", ["seen"], ["y"], domain="ai.onnx.ml",
                                                                              coefficients=[1.0, 2, 4, 8, 16, 32], intercepts=[0.0])]
graph = helper.make_graph(steps, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 5])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
                          [helper.make_tensor("which", TensorProto.INT64, [2], [3, 1]), helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 6])])
opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
case("onnx-whole", made)
made.graph.node[0].attribute[0].i = 0
with open(f"{folder}/by-rows.onnx", "wb") as f:
    f.write(made.SerializeToString())

# pipelines with texts, codes and chosen columns
frame = pd.DataFrame(x[:, :3], columns=["a", "b", "c"])
frame["t"], frame["k"] = rng.choice(["x", "y", "größer", 'q "r"'], 600), rng.integers(0, 4, 600)
other = pd.DataFrame(rows[:, :3], columns=["a", "b", "c"])
other["t"], other["k"] = rng.choice(["x", "y", "größer", 'q "r"', "new"], 300), rng.integers(0, 6, 300)
types = [(c, FloatTensorType([None, 1])) for c in "abc"] + [("t", StringTensorType([None, 1])), ("k", Int64TensorType([None, 1]))]
for encoder in (OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()):
    for model in (LogisticRegression(), RandomForestClassifier(10, max_depth=5)):
        pipe = make_pipeline(ColumnTransformer([("n", make_pipeline(SimpleImputer(), StandardScaler()), list("abc")), ("t", encoder, ["t", "k"])]), model)
        pipe.fit(frame, ((frame["a"] + (frame["t"] == "x") + 0.3 * frame["k"]) > 0.6).astype(int))
        known = other if type(encoder) is OneHotEncoder else frame[:300]
        frames(f"onnx-texts-{type(encoder).__name__}-{type(model).__name__}", to_onnx(pipe, initial_types=types, target_opset=15, options={"zipmap": False}), known)
chosen = ColumnTransformer([("s", StandardScaler(), [3, 0]), ("m", MinMaxScaler(), [1, 2])])
of_sklearn("onnx-chosen", make_pipeline(chosen, RandomForestRegressor(10)), z)

# one that is not supported
svc = SVC().fit(x, halves)
with open(f"{folder}/none.onnx", "wb") as f:
    f.write(to_onnx(svc, initial_types=[("x", FloatTensorType([None, 5]))], target_opset=15).SerializeToString())
cases.close()
