"""Trains card-risk.json: how likely a payment is fraud. Needs: pip install xgboost-cpu pandas"""
import json

import numpy as np
import pandas as pd
import xgboost as xgb

rng = np.random.default_rng(1)
count = 20_000
payments = pd.DataFrame({
    "amount": rng.lognormal(3.5, 1, count).round(2),
    "device.age_days": rng.integers(0, 400, count),
    "recent_count": rng.poisson(1.5, count),
    "channel": pd.Categorical(rng.choice(["web", "app", "terminal"], count)),
})
odds = (-6 + 0.8 * np.log(payments["amount"]) + 0.7 * payments["recent_count"]
        + 1.5 * (payments["device.age_days"] < 7) + 0.8 * (payments["channel"] == "web"))
fraud = rng.random(count) < 1 / (1 + np.exp(-odds))

data = xgb.DMatrix(payments, label=fraud, enable_categorical=True)
model = xgb.train({"objective": "binary:logistic", "max_depth": 4, "eta": 0.3, "tree_method": "hist"}, data, 20)
model.save_model("card-risk.json")

# rows with what they must score, to be checked before the model goes live
rows = payments.head(5)
scores = model.predict(xgb.DMatrix(rows, enable_categorical=True))
with open("card-risk.golden.ndjson", "w") as golden:
    for row, score in zip(rows.to_dict("records"), scores):
        golden.write(json.dumps({"row": row, "score": float(score)}) + "\n")
