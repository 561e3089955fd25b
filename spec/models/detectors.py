"""Reference implementations of detectors, from their papers, without care for speed: for each NAME, NAME.series (values, one a line)
and NAME.expected (anomalies, as mw's headers define them from what the paper computes), and a line in cases.ndjson.

    detectors.py FOLDER
"""
import json
import math
import sys

import numpy as np
from scipy.stats import genpareto

folder = sys.argv[1]
rng = np.random.default_rng(5)
cases = open(f"{folder}/cases.ndjson", "w")


def write(name, series, expected, kind, settings, within):
    np.savetxt(f"{folder}/{name}.series", series, fmt="%.17g", header="value", comments="")
    np.savetxt(f"{folder}/{name}.expected", expected, fmt="%.17g")
    cases.write(json.dumps({"name": name, "kind": kind, "settings": settings, "within": within}) + "\n")


def fit(peaks):
    """Maximum likelihood of a generalised Pareto distribution, by scipy, from several starts; or the exponential.
    Where gamma is -0.5 or less the greatest likelihood is none to go by (Smith, 1985)."""
    best = (-len(peaks) * math.log(np.mean(peaks)) - len(peaks), 0.0, float(np.mean(peaks)))
    if len(peaks) < 5:
        return best[1:]
    for start in (-0.4, -0.2, -0.05, 0.05, 0.2, 0.5):
        gamma, _, sigma = genpareto.fit(peaks, start, floc=0, scale=np.mean(peaks))
        likelihood = np.sum(genpareto.logpdf(peaks, gamma, 0, sigma))
        if gamma > -0.5 and np.isfinite(likelihood) and likelihood > best[0] + 1e-9:
            best = (likelihood, gamma, sigma)
    return best[1:]


def spot(series, risk=1e-4, learn=300, level=0.98, most=200):
    """Siffer et al., KDD 2017, algorithm 1, on both sides."""
    first, out = series[:learn], [0.0] * learn
    tails = []
    for sign in (1, -1):
        values = np.sort(sign * first)
        threshold = values[int(level * (learn - 1))]
        tails.append({"sign": sign, "t": threshold, "peaks": [v - threshold for v in sign * first if v > threshold]})
        tails[-1]["count"] = len(tails[-1]["peaks"])
        tails[-1]["fit"] = fit(np.array(tails[-1]["peaks"]))
    points = learn
    for value in series[learn:]:
        rare = 1.0
        for tail in tails:
            excess = tail["sign"] * value - tail["t"]
            if excess > 0:
                gamma, sigma = tail["fit"]
                rare = min(rare, tail["count"] / points * genpareto.sf(excess, gamma, 0, sigma))
        out.append(risk / (risk + rare))
        if out[-1] >= 0.5:
            continue
        points += 1
        for tail in tails:
            excess = tail["sign"] * value - tail["t"]
            if excess > 0:
                tail["peaks"] = (tail["peaks"] + [excess])[-most:]
                tail["count"] += 1
                tail["fit"] = fit(np.array(tail["peaks"]))
    return out


def likely_within(z):
    return math.erf(abs(z) / math.sqrt(2))


def discord(series, length=24, history=1000, warm=3):
    """The left matrix profile by brute force, each distance beside a weighted mean and deviation of those before."""
    out, mean, squares, judged = [], 0.0, 0.0, 0
    for n in range(len(series)):
        if n < 2 * length:
            out.append(0.0)
            continue
        newest = series[n - length + 1:n + 1]
        best = math.inf
        first = max(n - (history - length - 1), length - 1)
        for end in range(first, n - length + 1):
            a, b = series[end - length + 1:end + 1], newest
            a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
            best = min(best, float(np.linalg.norm(a - b)))
        far = best - mean
        deviation = math.sqrt(max(squares, 0))
        out.append(likely_within(far / deviation) if judged > warm * length and far > 0 and deviation > 0 else 0.0)
        part = max(1 / (judged + 1), 0.01)
        judged += 1
        mean += part * far
        squares = (1 - part) * (squares + far * part * far)
    return out


def spectral(series, threshold=3, window=64, smooth=3, ahead=5, look=21):
    """Ren et al., KDD 2019, section 4, by numpy's transforms."""
    held, out = window - ahead, []
    for n in range(len(series)):
        if n + 1 < held:
            out.append(0.0)
            continue
        x = list(series[n + 1 - held:n + 1])
        slope = sum((x[-1] - x[-1 - i]) / i for i in range(1, 6))
        x += [x[held - 5] + slope] * ahead
        spectrum = np.fft.fft(x)
        amplitude = np.abs(spectrum)
        logs = np.log(amplitude + 1e-8)
        means = np.array([logs[max(0, i - smooth + 1):i + 1].mean() for i in range(window)])
        saliency = np.abs(np.fft.ifft(np.where(amplitude > 1e-8, spectrum / np.maximum(amplitude, 1e-8) * np.exp(logs - means), 0)))
        mean = saliency[held - look:held].mean()
        beyond = (saliency[held - 1] - mean) / mean
        out.append(beyond / (beyond + threshold) if beyond > 0 else 0.0)
    return out


def half_space(series, window=250, shingle=3, trees=20, depth=7):
    """Tan et al., IJCAI 2011, algorithms 1 to 3, each node an object; random numbers are SplitMix64's of tree and node."""
    def random(n):
        mask = 2**64 - 1
        n = (n + 1) * 0x9e3779b97f4a7c15 & mask
        n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9 & mask
        n = (n ^ n >> 27) * 0x94d049bb133111eb & mask
        return n ^ n >> 31

    class Node:
        def __init__(self, tree, number, level, low, high):
            self.r = self.l = 0
            self.level = level
            if level == depth:
                self.kids = None
                return
            self.q = random(tree * 1000003 + 1000 + number) % shingle
            self.p = (low[self.q] + high[self.q]) / 2
            below, above = list(high), list(low)
            below[self.q] = above[self.q] = self.p
            self.kids = (Node(tree, 2 * number + 1, level + 1, low, below), Node(tree, 2 * number + 2, level + 1, above, high))

        def score(self, x):
            if self.kids is None or self.r <= 0.1 * window:
                return self.r * 2.0**self.level
            return self.kids[int(x[self.q] >= self.p)].score(x)

        def learn(self, x):
            self.l += 1
            if self.kids:
                self.kids[int(x[self.q] >= self.p)].learn(x)

        def turn(self):
            self.r, self.l = self.l, 0
            for kid in self.kids or ():
                kid.turn()

    forest = []
    for t in range(trees):
        s = [(random(t * 1000003 + q) >> 11) * 2.0**-53 for q in range(shingle)]
        around = [2 * max(v, 1 - v) for v in s]
        forest.append(Node(t, 0, 0, [v - a for v, a in zip(s, around)], [v + a for v, a in zip(s, around)]))
    low, high = min(series[:window]), max(series[:window])
    out, mean, variance, judged = [0.0] * window, 0.0, 0.0, 0
    for n in range(window, len(series)):
        x = [(series[n - q] - low) / (high - low) for q in range(shingle)]
        score = sum(tree.score(x) for tree in forest)
        for tree in forest:
            tree.learn(x)
        anomaly = 0.0
        if n >= 2 * window:
            below = mean - math.log2(1 + score)
            if judged > 50 and below > 0:
                anomaly = likely_within(below / math.sqrt(variance))
            part = max(1 / (judged + 1), 0.01)
            judged += 1
            mean -= part * below
            variance = (1 - part) * (variance + part * below * below)
        if (n + 1) % window == 0:
            for tree in forest:
                tree.turn()
        out.append(anomaly)
    return out


gaussian = rng.normal(size=2500)
gaussian[[900, 1700]] = [7, -6]
heavy = rng.standard_t(3, size=2500)
write("spot-gaussian", gaussian, spot(gaussian), "spot", "", 1e-3)
write("spot-heavy", heavy, spot(heavy), "spot", "", 1e-3)
wave = np.sin(np.arange(1500) / 8) + 0.05 * rng.normal(size=1500)
wave[1100:1112] = 0
write("discord", wave, discord(wave, 24, 400), "discord", "length=24,history=400", 1e-5)
bumps = np.sin(np.arange(800) / 5) + 0.1 * rng.normal(size=800)
bumps[[300, 600]] += 3
write("spectral", bumps, spectral(bumps), "spectral-residual", "", 1e-9)
write("half-space-trees", gaussian, half_space(gaussian), "half-space-trees", "", 1e-9)
cases.close()
