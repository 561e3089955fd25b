"""Trains failure.json: how likely a machine fails within the hour, of what the detector and an hour of its readings say.
Needs scikit-learn; the machines are made up: some drift and shake before they fail."""
import os
import sys

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "python"))
from moonweir_export import export

rng = np.random.default_rng(1)
count = 4000
failing = rng.random(count) < 0.2
hours = pd.DataFrame({
    "anomaly": np.where(failing, rng.beta(4, 2, count), rng.beta(1, 6, count)),  # the detector's
    "deviation": np.abs(rng.normal(size=count)) + np.where(failing, rng.gamma(3, 1, count), 0),  # of the reading, in the hour's
})
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(hours, failing)
export(model, "failure.json", features=list(hours.columns))
