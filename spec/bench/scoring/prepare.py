"""prepare.py FOLDER: the models and rows of the scoring benchmark, the same models compiled to C by tl2cgen, and as ONNX.

xgb.json: 100 trees of depth 6; lgb.txt: 500 trees of 31 leaves; 30 features; rows.f64: 20,000 rows of doubles.
"""
import os
import subprocess
import sys

import lightgbm as lgb
import numpy as np
import tl2cgen
import treelite
import xgboost as xgb

folder = sys.argv[1]
rng = np.random.default_rng(1)
x = rng.normal(size=(20_000, 30))
y = (x[:, 0] + x[:, 1] * x[:, 2] + np.sin(3 * x[:, 3]) + 0.3 * rng.normal(size=len(x)) > 0.2).astype(int)
b = xgb.train({"objective": "binary:logistic", "max_depth": 6, "nthread": 1}, xgb.DMatrix(x, label=y), 100)
b.save_model(f"{folder}/xgb.json")
m = lgb.train({"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1}, lgb.Dataset(x, label=y), 500)
m.save_model(f"{folder}/lgb.txt")
rng.normal(size=(20_000, 30)).tofile(f"{folder}/rows.f64")

for name, model in (("xgb", treelite.frontend.from_xgboost(b)), ("lgb", treelite.frontend.from_lightgbm(m))):
    source = f"{folder}/{name}-c"
    tl2cgen.generate_c_code(model, dirpath=source, params={"parallel_comp": 0}, verbose=False)
    files = [f"{source}/{f}" for f in os.listdir(source) if f.endswith(".c")]
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", "-o", f"{folder}/{name}-c.so", *files, "-lm"], check=True)

import onnxmltools
from onnxmltools.convert.common.data_types import FloatTensorType
kinds = [("x", FloatTensorType([None, 30]))]
for name, convert, model in (("xgb", onnxmltools.convert_xgboost, b), ("lgb", onnxmltools.convert_lightgbm, m)):
    more = {"zipmap": False} if name == "lgb" else {}
    onnxmltools.utils.save_model(convert(model, initial_types=kinds, target_opset=15, **more), f"{folder}/{name}.onnx")
