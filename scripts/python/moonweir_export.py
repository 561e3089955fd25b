"""Writes a fitted scikit-learn estimator or pipeline as a model file that Moonweir scores.

    from moonweir_export import export
    export(pipeline, "risk.json", features=list(X.columns))

or, of a pickle:  python moonweir_export.py MODEL.pkl OUT.json [FEATURE,FEATURE,…]

What is supported is in docs/reference/models.md; anything else raises Unsupported, which names it. Every column that an estimator
sees is a chain of scalar operations on one feature, so the file has columns, and an estimator over them: trees, or layers.
"""
import json
import math
import pickle
import sys

import numpy as np


class Unsupported(Exception):
    """The estimator, or an option of it, is none that Moonweir scores."""


def export(model, path, features=None):
    """Writes `model` to `path`. `features`: the names of its inputs; those it was fitted with where it knows them."""
    with open(path, "w") as f:
        json.dump(describe(model, features), f)


def describe(model, features=None):
    """The file's contents."""
    steps, estimator = _parts(model)
    if features is None:
        features = list(getattr(model, "feature_names_in_", []))
    if not features:
        features = [f"x{i}" for i in range(int(getattr(model, "n_features_in_")))]
    texts = [None] * len(features)
    columns = [{"feature": i, "ops": []} for i in range(len(features))]
    for step in steps:
        columns = _transform(step, columns, list(features), texts)
    columns = _own_encoding(estimator, columns, list(features), texts)
    about = _estimator(estimator, len(columns))
    described = [{"name": str(n), **({"texts": t} if t else {})} for n, t in zip(features, texts)]
    return {"moonweir": 1, "kind": type(estimator).__name__, "features": described, "columns": columns, **about}


def _parts(model):
    steps = []
    while type(model).__name__ == "Pipeline":
        steps += [s for _, s in model.steps[:-1] if s is not None and s != "passthrough"]
        model = model.steps[-1][1]
    return steps, model


# ---- transformers: columns to columns ----

def _with(column, *ops):
    return {"feature": column["feature"], "ops": column["ops"] + [list(op) for op in ops]}


def _number(value):
    value = float(value)
    if not math.isfinite(value):
        raise Unsupported(f"a parameter that is {value}")
    return value


def _code(column, category, texts):
    """A category as a number; texts get codes by their feature. None: it is what is missing."""
    if category is None or (isinstance(category, float) and math.isnan(category)):
        return None
    if isinstance(category, str):
        if any(op[0] != "impute" for op in column["ops"]):
            raise Unsupported("texts behind another step than an encoder")
        known = texts[column["feature"]] = texts[column["feature"]] or []
        if category not in known:
            known.append(category)
        return float(known.index(category))
    return _number(category)


def _transform(step, columns, names, texts):
    name = type(step).__name__
    if name == "Pipeline":
        for _, inner in step.steps:
            if inner is not None and inner != "passthrough":
                columns = _transform(inner, columns, names, texts)
        return columns
    if name == "ColumnTransformer":
        return _column_transformer(step, columns, names, texts)
    if name == "StandardScaler":
        return [_with(c, *([["subtract", _number(step.mean_[i])]] if step.with_mean else []),
                      *([["divide", _number(step.scale_[i])]] if step.with_std else [])) for i, c in enumerate(columns)]
    if name == "MinMaxScaler":
        clip = [["clip", *map(_number, step.feature_range)]] if step.clip else []
        return [_with(c, ["multiply", _number(step.scale_[i])], ["add", _number(step.min_[i])], *clip) for i, c in enumerate(columns)]
    if name == "MaxAbsScaler":
        return [_with(c, ["divide", _number(step.scale_[i])]) for i, c in enumerate(columns)]
    if name == "RobustScaler":
        return [_with(c, *([["subtract", _number(step.center_[i])]] if step.with_centering else []),
                      *([["divide", _number(step.scale_[i])]] if step.with_scaling else [])) for i, c in enumerate(columns)]
    if name == "SimpleImputer":
        return _imputer(step, columns, texts)
    if name == "OneHotEncoder":
        return _one_hot(step, columns, texts)
    if name == "OrdinalEncoder":
        return _ordinal(step, columns, texts)
    raise Unsupported(f"the transformer {name}")


def _column_transformer(step, columns, names, texts):
    out = []
    for name, inner, chosen in step.transformers_:
        if inner == "drop" or (name == "remainder" and inner == "drop"):
            continue
        indices = _indices(chosen, names, len(columns))
        taken = [columns[i] for i in indices]
        if inner == "passthrough" or type(inner).__name__ == "FunctionTransformer" and _is_identity(inner.func):
            out += taken
        else:
            out += _transform(inner, taken, [names[i] for i in indices], texts)
    return out


def _is_identity(function):
    """What HistGradientBoosting puts before its numbers only looks at them."""
    return function is None or getattr(getattr(function, "func", None), "__name__", "") == "check_array"


def _indices(chosen, names, count):
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            raise Unsupported("a slice of columns by name")
        return list(range(count))[chosen]
    chosen = [chosen] if isinstance(chosen, (str, int)) else list(chosen)
    if chosen and isinstance(chosen[0], (bool, np.bool_)):
        return [i for i, c in enumerate(chosen) if c]
    return [names.index(c) if isinstance(c, str) else int(c) for c in chosen]


def _imputer(step, columns, texts):
    if not (step.missing_values is None or isinstance(step.missing_values, float) and math.isnan(step.missing_values)):
        raise Unsupported("SimpleImputer with missing_values other than NaN and None")
    out = []
    for i, c in enumerate(columns):
        fill = step.statistics_[i]
        if fill is None or (not isinstance(fill, str) and math.isnan(fill)):
            if not getattr(step, "keep_empty_features", False):
                continue  # a feature that was always missing is dropped
            fill = 0
        out.append(_with(c, ["impute", _code(c, fill, texts)]))
    if step.add_indicator:
        out += [_with(columns[i], ["missing"]) for i in step.indicator_.features_]
    return out


def _one_hot(step, columns, texts):
    out = []
    for i, c in enumerate(columns):
        codes = [_code(c, category, texts) for category in step.categories_[i]]
        rare = getattr(step, "_infrequent_indices", None)
        rare = set() if rare is None or rare[i] is None else set(rare[i].tolist())
        made = [_with(c, ["missing"] if code is None else ["is", code]) for k, code in enumerate(codes) if k not in rare]
        if rare:
            unknown = float(step.handle_unknown in ("infrequent_if_exist", "warn"))
            missing = float(codes.index(None) in rare) if None in codes else unknown
            known = [(code, float(k in rare)) for k, code in enumerate(codes) if code is not None]
            made.append(_with(c, ["map", [code for code, _ in known], [is_rare for _, is_rare in known], unknown, missing]))
        if step.drop_idx_ is not None and step._drop_idx_after_grouping[i] is not None:
            del made[step._drop_idx_after_grouping[i]]
        out += made
    return out


def _ordinal(step, columns, texts):
    out = []
    groups = getattr(step, "_default_to_infrequent_mappings", None) or [None] * len(columns)
    unknown = step.unknown_value if step.handle_unknown == "use_encoded_value" else None
    for i, c in enumerate(columns):
        codes, places = [], []
        missing = step.encoded_missing_value
        for k, category in enumerate(step.categories_[i]):
            code = _code(c, category, texts)
            if code is not None:
                codes.append(code)
                places.append(k if groups[i] is None else int(groups[i][k]))
        plain = [None if v is None or math.isnan(v) else float(v) for v in (unknown, missing)]
        out.append(_with(c, ["map", codes, places, plain[0], plain[1]]))
    return out


def _own_encoding(e, columns, names, texts):
    """What an estimator does to its columns first."""
    if getattr(e, "_preprocessor", None) is not None:  # HistGradientBoosting with categories
        return _transform(e._preprocessor, columns, names, texts)
    if type(e).__name__ == "CategoricalNB":
        return [_with(c, ["is", float(k)]) for c, p in zip(columns, e.feature_log_prob_) for k in range(p.shape[1])]
    return columns


# ---- estimators ----

def _estimator(e, columns):
    name = type(e).__name__
    for names, describe_one in ESTIMATORS:
        if name in names:
            about = describe_one(e, columns)
            return about
    raise Unsupported(f"the estimator {name}")


def _layer(weights, bias, activation="identity", centers=None):
    layer = {"weights": np.asarray(weights, dtype=float).tolist(), "bias": np.asarray(bias, dtype=float).tolist(), "activation": activation}
    if centers is not None:
        layer["centers"] = np.asarray(centers, dtype=float).tolist()
    return layer


def _linear(e, columns):
    weights = np.atleast_2d(e.coef_)
    bias = np.broadcast_to(np.atleast_1d(e.intercept_), (len(weights),))
    return {"layers": [_layer(weights, bias)], "output": "same"}


def _logistic(e, columns):
    loss = getattr(e, "loss", "log_loss")
    about = _linear(e, columns)
    if loss != "log_loss":  # SGDClassifier: what its decision function says
        return about
    outputs = len(about["layers"][0]["bias"])
    if outputs == 1:
        return {**about, "output": "sigmoid"}
    one_by_one = type(e).__name__ == "SGDClassifier" or getattr(e, "multi_class", "auto") == "ovr" or getattr(e, "solver", "") == "liblinear"
    return {**about, "output": "shares of sigmoids" if one_by_one else "softmax"}


def _bayes(e, columns):
    name = type(e).__name__
    if name == "GaussianNB":
        variance = e.var_
        bias = np.log(e.class_prior_) - 0.5 * np.sum(np.log(2 * np.pi * variance), axis=1)
        layer = _layer(-0.5 / variance, bias, centers=e.theta_)
    elif name == "MultinomialNB":
        layer = _layer(e.feature_log_prob_, e.class_log_prior_)
    elif name == "ComplementNB":
        layer = _layer(e.feature_log_prob_, e.class_log_prior_ if len(e.classes_) == 1 else np.zeros(len(e.classes_)))
    elif name == "CategoricalNB":
        layer = _layer(np.concatenate(e.feature_log_prob_, axis=1), e.class_log_prior_)
    else:
        absent = np.log(1 - np.exp(e.feature_log_prob_))
        layer = _layer(e.feature_log_prob_ - absent, e.class_log_prior_ + absent.sum(axis=1))
        if e.binarize is not None:
            layer["above"] = _number(e.binarize)
    if len(e.classes_) != 2:
        return {"layers": [layer], "output": "softmax"}
    if "centers" in layer:
        return {"layers": [layer, _layer([[-1, 1]], [0])], "output": "sigmoid"}
    for name in ("weights", "bias"):
        layer[name] = (np.asarray(layer[name])[1:] - np.asarray(layer[name])[:1]).tolist()
    return {"layers": [layer], "output": "sigmoid"}


def _means(e, columns):
    c = e.cluster_centers_
    return {"layers": [_layer(-np.ones_like(c), np.zeros(len(c)), centers=c)], "output": "greatest"}


def _perceptron(e, columns):
    layers = [_layer(w.T, b, e.activation) for w, b in zip(e.coefs_, e.intercepts_)]
    layers[-1]["activation"] = "identity"
    output = {"identity": "same", "logistic": "sigmoid", "softmax": "softmax"}[e.out_activation_]
    return {"layers": layers, "output": output}


def _tree(tree, value, features=None):
    feature = tree.feature.copy()
    if features is not None:
        feature = np.where(feature >= 0, np.asarray(features)[np.maximum(feature, 0)], feature)
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
    return {"left": tree.children_left.tolist(), "right": tree.children_right.tolist(), "feature": feature.tolist(),
            "threshold": tree.threshold.tolist(), "missing_left": [int(m) for m in missing],
            "cover": tree.weighted_n_node_samples.tolist(), "value": np.asarray(value, dtype=float).ravel().tolist()}


def _class_values(tree):
    value = tree.value[:, 0, :]
    value = value / value.sum(axis=1, keepdims=True)
    return value[:, 1] if value.shape[1] == 2 else value


def _forest(e, columns):
    estimators = getattr(e, "estimators_", [e])
    if getattr(e, "n_outputs_", 1) != 1:
        raise Unsupported("trees of several outputs")
    classes = getattr(e, "n_classes_", None)
    trees = [_tree(t.tree_, _class_values(t.tree_) if classes is not None else t.tree_.value[:, 0, 0]) for t in estimators]
    outputs = 1 if classes is None or classes == 2 else int(classes)
    return {"trees": trees, "outputs": outputs, "width": outputs, "float": True, "divide": len(trees), "output": "same"}


def _boosting(e, columns):
    if e.init_ is not None and type(e.init_).__name__ not in ("DummyClassifier", "DummyRegressor") and e.init != "zero":
        raise Unsupported("GradientBoosting with an estimator as init")
    zero = np.zeros((1, columns), dtype=np.float32)
    base = np.ravel(e._raw_predict_init(zero))
    trees = []
    for row in e.estimators_:
        trees += [{**_tree(t.tree_, t.tree_.value[:, 0, 0]), "output": k} for k, t in enumerate(row)]
    outputs = e.estimators_.shape[1]
    output = "same"
    if hasattr(e, "classes_"):
        if e.loss == "exponential":
            output = "sigmoid of double"
        else:
            output = "sigmoid" if outputs == 1 else "softmax"
    return {"trees": trees, "outputs": outputs, "width": 1, "float": True, "weight": e.learning_rate, "base": base.tolist(), "output": output}


def _hist_boosting(e, columns):
    trees = []
    for row in e._predictors:
        for k, predictor in enumerate(row):
            n = predictor.nodes
            leaf = n["is_leaf"].astype(bool)
            trees.append({"left": np.where(leaf, -1, n["left"].astype(int)).tolist(), "right": np.where(leaf, -1, n["right"].astype(int)).tolist(),
                          "feature": n["feature_idx"].tolist(), "threshold": [float(t) if math.isfinite(t) else 1e308 for t in n["num_threshold"]],
                          "missing_left": n["missing_go_to_left"].astype(int).tolist(), "cover": n["count"].tolist(),
                          "value": n["value"].tolist(), "output": k})
            categorical = n["is_categorical"].astype(bool)
            if categorical.any() and getattr(e, "_preprocessor", None) is None:
                raise Unsupported("HistGradientBoosting with categorical features of a scikit-learn before 1.4")
            if categorical.any():  # sets of codes that go to the left, 8 words of 32 bits each
                trees[-1]["set"] = np.where(categorical, n["bitset_idx"].astype(int), -1).tolist()
                trees[-1]["sets"] = predictor.raw_left_cat_bitsets.ravel().tolist()
    outputs = len(e._predictors[0])
    output = "same"
    if hasattr(e, "classes_"):
        output = "sigmoid" if outputs == 1 else "softmax"
    elif e.loss in ("poisson", "gamma"):
        output = "exp"
    return {"trees": trees, "outputs": outputs, "width": 1, "float": False, "base": np.ravel(e._baseline_prediction).tolist(), "output": output}


def _path_length(n):
    """The mean depth of an unsuccessful search among n."""
    n = np.asarray(n, dtype=float)
    long = np.maximum(n, 3)
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, 2 * (np.log(long - 1) + np.euler_gamma) - 2 * (long - 1) / long))


def _isolation(e, columns):
    trees = []
    for t, features in zip(e.estimators_, e.estimators_features_):
        tree = t.tree_
        depth = np.zeros(tree.node_count)
        for i in range(tree.node_count):
            for child in (tree.children_left[i], tree.children_right[i]):
                if child != -1:
                    depth[child] = depth[i] + 1
        trees.append(_tree(tree, depth + _path_length(tree.n_node_samples), features))
    scale = len(trees) * float(_path_length(e._max_samples))
    return {"trees": trees, "outputs": 1, "width": 1, "float": True, "output": "halves", "factor": scale}


ESTIMATORS = [
    ({"LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "SGDRegressor", "BayesianRidge", "ARDRegression",
      "HuberRegressor", "TheilSenRegressor", "LinearSVR", "LinearSVC", "RidgeClassifier", "Perceptron", "Lars", "LassoLars", "QuantileRegressor"}, _linear),
    ({"LogisticRegression", "LogisticRegressionCV", "SGDClassifier"}, _logistic),
    ({"GaussianNB", "MultinomialNB", "ComplementNB", "BernoulliNB", "CategoricalNB"}, _bayes),
    ({"KMeans", "MiniBatchKMeans"}, _means),
    ({"MLPClassifier", "MLPRegressor"}, _perceptron),
    ({"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor", "RandomForestClassifier",
      "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}, _forest),
    ({"GradientBoostingClassifier", "GradientBoostingRegressor"}, _boosting),
    ({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}, _hist_boosting),
    ({"IsolationForest"}, _isolation),
]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as f:
        fitted = pickle.load(f)
    try:
        export(fitted, sys.argv[2], sys.argv[3].split(",") if len(sys.argv) == 4 else None)
    except Unsupported as why:
        sys.exit(f"moonweir_export: {why} is not supported (docs/reference/models.md has what is)")
