"""Writes a matrix of scikit-learn models as scripts/python/moonweir_export.py exports them, rows, and what scikit-learn says of them:
the files of trainers.py, of scores alone. A score is predict_proba where there is one (of two classes the second's), else the
decision function or the prediction; of an isolation forest score_samples, of k-means the number of the cluster.

    pipelines.py FOLDER
"""
import json
import math
import os
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (ExtraTreesClassifier, ExtraTreesRegressor, GradientBoostingClassifier, GradientBoostingRegressor,
                              HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier,
                              RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier,
                                  SGDRegressor)
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "scripts", "python"))
from moonweir_export import Unsupported, export

warnings.simplefilter("ignore")
folder = sys.argv[1]
rng = np.random.default_rng(11)
cases = open(f"{folder}/cases.ndjson", "w")
NAMES = [f"n{i}" for i in range(5)]


def frame(count, missing=0.0, odd=False):
    x = pd.DataFrame(rng.normal(size=(count, 5)), columns=NAMES)
    x["n1"] = x["n1"].round(1)
    x["n2"] = rng.integers(0, 5, count)
    if missing:
        x = x.mask(rng.random(x.shape) < missing)
    x["colour"] = rng.choice(["red", "green", "größer", 'a "b"'], count)
    x["size"] = rng.choice(["s", "m", "l"], count)
    if odd:
        x.loc[rng.random(count) < 0.1, "colour"] = "violet"
    return x


def target(x):
    z = x[NAMES].fillna(0)
    return (z["n0"] + 0.5 * z["n1"] * z["n2"] - z["n3"].abs() + 0.5 * (x["colour"] == "red")).to_numpy()


def says(model, x):
    if isinstance(model, IsolationForest):
        return model.score_samples(x)
    if hasattr(model, "predict_proba"):
        p = model.predict_proba(x)
        return p[:, 1] if p.shape[1] == 2 else p
    if hasattr(model, "decision_function"):
        return model.decision_function(x)
    return model.predict(x)


def case(name, model, x, y, rows, near=1e-6):
    model.fit(x, y)
    export(model, f"{folder}/{name}.json", features=list(x.columns))
    scores = says(model, rows)
    with open(f"{folder}/{name}.rows.ndjson", "w") as f:
        for row in rows.to_dict("records"):
            f.write(json.dumps({k: v for k, v in row.items() if not (v is None or isinstance(v, float) and math.isnan(v))}) + "\n")
    with open(f"{folder}/{name}.score.ndjson", "w") as f:
        for s in scores:
            f.write(json.dumps(np.asarray(s, dtype=float).tolist()) + "\n")
    cases.write(json.dumps({"name": name, "file": f"{name}.json", "trainer": "scikit-learn", "near": near}) + "\n")


train, fresh = frame(600), frame(300)
numbers, more = train[NAMES], fresh[NAMES].copy()
y, classes = target(train), np.digitize(target(train), [-0.5, 0.8])
halves = (y > 0).astype(int)
tree = {"max_depth": 6, "random_state": 1}
# thresholds are between values, and compared as float32: values of both kinds at them
for t in DecisionTreeRegressor(**tree).fit(numbers, y).tree_.threshold[:40]:
    if t != -2:
        for v in (t, float(np.float32(t)), float(np.nextafter(np.float32(t), np.float32(9e9)))):
            more.loc[len(more)] = [v] * 5

for model in (LinearRegression(), Ridge(), Lasso(0.01), ElasticNet(0.01), SGDRegressor(random_state=1)):
    case(f"sk-{type(model).__name__}", model, numbers, y, more)
for model in (LogisticRegression(), SGDClassifier(loss="log_loss", random_state=1), SGDClassifier(random_state=1), RidgeClassifier()):
    for labels, kind in ((halves, "2"), (classes, "3")):
        case(f"sk-{type(model).__name__}-{getattr(model, 'loss', '')}-{kind}", model, numbers, labels, more)
for model in (GaussianNB(), BernoulliNB()):
    case(f"sk-{type(model).__name__}", model, numbers, classes, more)
    case(f"sk-{type(model).__name__}-2", model, numbers, halves, more)
case("sk-MultinomialNB-2", MultinomialNB(), numbers.abs(), halves, more.abs())
case("sk-MultinomialNB", MultinomialNB(), numbers.abs(), classes, more.abs())
case("sk-KMeans", KMeans(5, random_state=1, n_init=1), numbers, None, more)
for activation in ("relu", "tanh", "logistic", "identity"):
    case(f"sk-MLP-{activation}", MLPRegressor(hidden_layer_sizes=(9, 7), activation=activation, random_state=1, max_iter=50), numbers, y, more)
case("sk-MLP-2", MLPClassifier(hidden_layer_sizes=(9,), random_state=1, max_iter=50), numbers, halves, more)
case("sk-MLP-3", MLPClassifier(hidden_layer_sizes=(9,), random_state=1, max_iter=50), numbers, classes, more)
for model in (DecisionTreeClassifier, RandomForestClassifier, ExtraTreesClassifier):
    for labels, kind in ((halves, "2"), (classes, "3")):
        extra = {} if model is DecisionTreeClassifier else {"n_estimators": 25}
        case(f"sk-{model.__name__}-{kind}", model(**tree, **extra), numbers, labels, more, 1e-12)
for model in (DecisionTreeRegressor, RandomForestRegressor, ExtraTreesRegressor):
    extra = {} if model is DecisionTreeRegressor else {"n_estimators": 25}
    case(f"sk-{model.__name__}", model(**tree, **extra), numbers, y, more, 1e-12)
case("sk-RandomForest-deep", RandomForestRegressor(20, random_state=1), numbers, y, more, 1e-12)
for loss in ("squared_error", "huber", "quantile"):
    case(f"sk-GradientBoosting-{loss}", GradientBoostingRegressor(loss=loss, n_estimators=30, random_state=1), numbers, y, more, 1e-12)
case("sk-GradientBoosting-2", GradientBoostingClassifier(n_estimators=30, random_state=1), numbers, halves, more, 1e-12)
case("sk-GradientBoosting-exponential", GradientBoostingClassifier(loss="exponential", n_estimators=30, random_state=1), numbers, halves, more, 1e-12)
case("sk-GradientBoosting-3", GradientBoostingClassifier(n_estimators=20, random_state=1), numbers, classes, more, 1e-12)
gaps, new_gaps = frame(600, 0.2)[NAMES], frame(200, 0.3)[NAMES]
gap_y = gaps.fillna(0).sum(axis=1).to_numpy()
for loss in ("squared_error", "poisson"):
    case(f"sk-Hist-{loss}", HistGradientBoostingRegressor(loss=loss, max_iter=30), gaps, np.abs(gap_y), new_gaps, 1e-12)
case("sk-Hist-2", HistGradientBoostingClassifier(max_iter=30), gaps, (gap_y > 0).astype(int), new_gaps, 1e-12)
case("sk-Hist-3", HistGradientBoostingClassifier(max_iter=20), gaps, np.digitize(gap_y, [-1, 1]), new_gaps, 1e-12)
case("sk-RandomForest-missing", RandomForestRegressor(20, random_state=1), gaps, gap_y, new_gaps, 1e-12)
case("sk-IsolationForest", IsolationForest(n_estimators=50, random_state=1), numbers, None, more, 1e-12)
case("sk-IsolationForest-some", IsolationForest(n_estimators=30, max_features=0.6, max_samples=100, random_state=1), numbers, None, more, 1e-12)
for scaler in (StandardScaler(), MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler()):
    case(f"sk-{type(scaler).__name__}", make_pipeline(scaler, Ridge()), numbers, y, more)


def mixed(encoder, last, add_indicator=False):
    return make_pipeline(ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=add_indicator), StandardScaler()), NAMES),
        ("texts", encoder, ["colour", "size"])]), last)


holes, odd = frame(600, 0.2), frame(300, 0.2, odd=True)
hole_y = target(holes)
case("sk-mixed-one-hot", mixed(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()), holes, (hole_y > 0).astype(int), odd)
case("sk-mixed-drop", mixed(OneHotEncoder(drop="first", handle_unknown="ignore"), Ridge(), True), holes, hole_y, odd)
case("sk-mixed-ordinal", mixed(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-5), GradientBoostingRegressor(random_state=1)),
     holes, hole_y, odd, 1e-12)
case("sk-mixed-forest", mixed(OneHotEncoder(handle_unknown="ignore"), RandomForestClassifier(20, random_state=1)), holes,
     np.digitize(hole_y, [-0.5, 0.8]), odd, 1e-12)

# categories
case("sk-mixed-imputed", make_pipeline(ColumnTransformer([
    ("numbers", SimpleImputer(), NAMES),
    ("most", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), ["colour"]),
    ("fill", make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OrdinalEncoder()), ["size"])]), Ridge()),
    holes.assign(size=holes["size"].where(holes["n0"] < 1)), hole_y, odd.assign(colour=odd["colour"].where(odd["n2"] < 3)))
shares = [0.4, 0.3, 0.2, 0.04, 0.03, 0.03]


def towns(count, more=()):
    """Texts of which some are rare, some are missing, and, in `more`, some are new; beside codes."""
    x = frame(count, 0.1)
    x["town"] = rng.choice(list("abcdef"), count, p=shares)
    x["town"] = x["town"].where(rng.random(count) > 0.05)
    x["code"] = rng.choice(np.arange(6) * 2 + 1, count, p=shares).astype(float)
    x["code"] = x["code"].where(rng.random(count) > 0.05)
    if more:
        x.loc[rng.random(count) < 0.1, "town"] = more[0]
        x.loc[rng.random(count) < 0.1, "code"] = more[1]
    return x


some, new = towns(800), towns(300, ("new", 4.0))
some_y = target(some) + some["town"].isin(["b", "e"]) + some["code"].isin([1, 9])
KEYS = ["town", "code", "colour"]
for name, encoder in (
        ("infrequent", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1)),
        ("infrequent-ignore", OneHotEncoder(handle_unknown="ignore", max_categories=4)),
        ("infrequent-drop", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1, drop="first")),
        ("infrequent-ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-3, min_frequency=0.1)),
        ("infrequent-missing", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-3, encoded_missing_value=-1, max_categories=3))):
    last = HistGradientBoostingRegressor(max_iter=20)
    case(f"sk-{name}", make_pipeline(ColumnTransformer([("texts", encoder, KEYS), ("rest", "passthrough", NAMES)], sparse_threshold=0), last), some, some_y, new, 1e-12)
for name, frames in (("Hist-categories", (some, new)), ("Hist-dtype", tuple(x.astype({k: "category" for k in KEYS + ["size"]}) for x in (some, new)))):
    chosen = KEYS + ["size"] if name == "Hist-categories" else "from_dtype"
    case(f"sk-{name}", HistGradientBoostingRegressor(max_iter=30, categorical_features=chosen), frames[0], some_y, frames[1], 1e-12)
case("sk-Hist-categories-3", HistGradientBoostingClassifier(max_iter=15, categorical_features=KEYS + ["size"]), some,
     np.digitize(some_y, [-0.5, 1.5]), new, 1e-12)
counts = pd.DataFrame(rng.poisson(2, (400, 5)), columns=NAMES)
count_y = np.digitize(counts["n0"] - counts["n1"] + rng.normal(size=400), [-1, 1])
case("sk-ComplementNB", ComplementNB(), counts, count_y, counts)
case("sk-CategoricalNB", CategoricalNB(min_categories=20), counts, count_y, counts)
case("sk-CategoricalNB-texts", make_pipeline(OrdinalEncoder(), CategoricalNB()), some[["colour", "size"]], (some_y > 0).astype(int), new[["colour", "size"]])
case("sk-BernoulliNB-above", BernoulliNB(binarize=1.5), counts, count_y, counts)
case("sk-BernoulliNB-none", BernoulliNB(binarize=None), (counts > 1).astype(float), count_y, (counts > 1).astype(float))

# what is not supported says so
from sklearn.decomposition import PCA
from sklearn.svm import SVC
for model, word in ((make_pipeline(PCA(2), Ridge()), "PCA"), (SVC(), "SVC")):
    model.fit(numbers, halves)
    try:
        export(model, f"{folder}/none.json")
        sys.exit(f"{word} was exported")
    except Unsupported as why:
        assert word in str(why), why
cases.close()
