"""Writes PMML models of trees and regressions as JPMML makes them, rows, and what scikit-learn says of them: the files of pipelines.py.

    pmml_models.py FOLDER
"""
import json
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (ExtraTreesClassifier, ExtraTreesRegressor, GradientBoostingClassifier, GradientBoostingRegressor,
                              RandomForestClassifier, RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn2pmml import make_pmml_pipeline, sklearn2pmml

warnings.simplefilter("ignore")
folder = sys.argv[1]
rng = np.random.default_rng(4)
cases = open(f"{folder}/cases.ndjson", "w")
NAMES = [f"n{i}" for i in range(5)]
x = pd.DataFrame(rng.normal(size=(600, 5)), columns=NAMES)
z = (x["n0"] + 0.5 * x["n1"] * x["n2"] - x["n3"].abs()).to_numpy()
halves, classes = (z > -0.5).astype(int), np.digitize(z, [-1, 0.3])
rows = pd.DataFrame(rng.normal(size=(300, 5)), columns=NAMES)


def case(model, y, kind=""):
    name = f"pmml-{type(model).__name__}{kind}"
    model.fit(x, y)
    sklearn2pmml(make_pmml_pipeline(model, list(x.columns), ["y"]), f"{folder}/{name}.pmml")
    scores = model.predict(rows) if not hasattr(model, "predict_proba") else model.predict_proba(rows)
    if scores.ndim == 2 and scores.shape[1] == 2:
        scores = scores[:, 1]
    with open(f"{folder}/{name}.rows.ndjson", "w") as f:
        for row in rows.to_dict("records"):
            f.write(json.dumps({k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))}) + "\n")
    with open(f"{folder}/{name}.score.ndjson", "w") as f:
        for s in scores.tolist():
            f.write(json.dumps(s) + "\n")
    cases.write(json.dumps({"name": name, "file": f"{name}.pmml", "trainer": "pmml", "near": 1e-9, "least": 1e-12}) + "\n")


for y, kind in ((halves, "-2"), (classes, "-3")):
    for model in (DecisionTreeClassifier(max_depth=6), RandomForestClassifier(10), ExtraTreesClassifier(10), GradientBoostingClassifier(n_estimators=15),
                  LogisticRegression()):
        case(model, y, kind)
for model in (DecisionTreeRegressor(max_depth=6), RandomForestRegressor(10), ExtraTreesRegressor(10), GradientBoostingRegressor(n_estimators=15),
              LinearRegression(), Lasso(0.01)):
    case(model, z)
# pipelines, whose steps are derived fields, and treatments of missing values
x = x.mask(rng.random(x.shape) < 0.1)
x["town"], x["code"] = rng.choice(["a", 'b "c"', "d"], 600), rng.integers(1, 4, 600)
rows = rows.mask(rng.random(rows.shape) < 0.2)
rows["town"], rows["code"] = rng.choice(["a", 'b "c"', "d"], 300), rng.integers(1, 4, 300)
for scaler in (StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler()):
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler)
    for encoder, last in ((OneHotEncoder(), LogisticRegression()), (OrdinalEncoder(), GradientBoostingClassifier(n_estimators=5)),
                          (OneHotEncoder(), RandomForestClassifier(5))):
        case(Pipeline([("columns", ColumnTransformer([("numbers", numbers, NAMES), ("categories", encoder, ["town", "code"])])), ("last", last)]), halves,
             f"-{type(scaler).__name__}-{type(last).__name__}")
x = x.drop(columns=["town", "code"])
sklearn2pmml(make_pmml_pipeline(KMeans(3).fit(x.fillna(0)), NAMES), f"{folder}/none.pmml")

# what a missing value makes of it, by hand: no prediction, the node's own, or the next child's
for strategy, last in (("nullPrediction", "returnLastPrediction"), ("none", "returnLastPrediction"), ("none", "returnNullPrediction")):
    with open(f"{folder}/pmml-{strategy}-{last}.pmml", "w") as f:
        f.write(f"""<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><DataDictionary>
<DataField name="v" optype="continuous" dataType="double"/><DataField name="w" optype="continuous" dataType="double"/>
<DataField name="c" optype="categorical" dataType="string"><Value value="red"/><Value value="blue"/></DataField>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<TreeModel functionName="regression" missingValueStrategy="{strategy}" noTrueChildStrategy="{last}"><MiningSchema><MiningField name="v"/>
<MiningField name="w"/><MiningField name="c"/><MiningField name="y" usageType="target"/></MiningSchema>
<Node score="10"><True/>
<Node score="1"><SimplePredicate field="v" operator="lessThan" value="0"/>
<Node score="2"><SimplePredicate field="c" operator="equal" value="red"/></Node>
<Node score="3"><SimplePredicate field="c" operator="notEqual" value="red"/></Node></Node>
<Node score="4"><SimplePredicate field="w" operator="greaterThan" value="0"/></Node></Node></TreeModel></PMML>""")

# by hand: categories, default children, every operator
for text, file in (("""<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><DataDictionary>
<DataField name="v" optype="continuous" dataType="double"/>
<DataField name="c" optype="categorical" dataType="string"><Value value="red"/><Value value="a &quot;b&quot;"/></DataField>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<TreeModel functionName="regression" missingValueStrategy="defaultChild"><MiningSchema><MiningField name="v"/><MiningField name="c"/>
<MiningField name="y" usageType="target"/></MiningSchema>
<Node id="0" score="0" defaultChild="2"><True/>
<Node id="1" score="0" defaultChild="4"><SimplePredicate field="v" operator="lessThan" value="1"/>
<Node id="3" score="1"><SimplePredicate field="c" operator="equal" value="red"/></Node>
<Node id="4" score="2"><SimplePredicate field="c" operator="notEqual" value="red"/></Node></Node>
<Node id="2" score="0" defaultChild="6"><SimplePredicate field="v" operator="greaterOrEqual" value="1"/>
<Node id="5" score="3"><SimplePredicate field="v" operator="greaterThan" value="5"/></Node>
<Node id="6" score="4"><SimplePredicate field="v" operator="lessOrEqual" value="5"/></Node></Node></Node></TreeModel></PMML>""", "pmml-tree"),
                   ("""<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><DataDictionary>
<DataField name="v" optype="continuous" dataType="double"/>
<DataField name="c" optype="categorical" dataType="string"><Value value="red"/><Value value="blue"/></DataField>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<RegressionModel functionName="regression" normalizationMethod="exp"><MiningSchema><MiningField name="v"/><MiningField name="c"/>
<MiningField name="y" usageType="target"/></MiningSchema><RegressionTable intercept="0.5"><NumericPredictor name="v" coefficient="0.25"/>
<CategoricalPredictor name="c" value="red" coefficient="-1"/><CategoricalPredictor name="c" value="blue" coefficient="1"/></RegressionTable>
</RegressionModel></PMML>""", "pmml-regression")):
    with open(f"{folder}/{file}.pmml", "w") as f:
        f.write(text)
cases.close()
