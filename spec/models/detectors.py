"""Reference implementations of detectors, from their papers, without care for speed: for each NAME, NAME.series (values, one a line)
and NAME.expected (anomalies, as mw's headers define them from what the paper computes), and a line in cases.ndjson.

    detectors.py FOLDER
"""
import json
import math
import sys

import numpy as np
from scipy.stats import genpareto, weibull_min

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
    out, usual = [], Usual()
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
        out.append(usual.judge(best, warm * length))
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


def random(n):
    """SplitMix64 of a number."""
    mask = 2**64 - 1
    n = (n + 1) * 0x9e3779b97f4a7c15 & mask
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9 & mask
    n = (n ^ n >> 27) * 0x94d049bb133111eb & mask
    return n ^ n >> 31


def unit(n):
    return (random(n) >> 11) * 2.0**-53


class Usual:
    """How far above the weighted mean of those before a measure is."""
    def __init__(self):
        self.mean = self.variance = self.judged = 0.0

    def judge(self, measure, warm):
        above, anomaly = measure - self.mean, 0.0
        if self.judged > warm and above > 0:
            anomaly = likely_within(above / math.sqrt(self.variance)) if self.variance > 0 else 1.0
        part = max(1 / (self.judged + 1), 0.01)
        self.judged += 1
        self.mean += part * above
        self.variance = (1 - part) * (self.variance + above * part * above)
        return anomaly


class Extremes:
    """How far beyond the extremes of late a value lies, as extremes.h has it, on the upper side, all blocks kept as lists."""
    def __init__(self):
        self.blocks = [[]]

    def add(self, value):
        full, margin = [b for b in self.blocks if len(b) == 100][-64:], 0.0
        if full:
            rank = 1 if len(full) < 4 else 2 if len(full) < 8 else 3
            high = np.float32(sorted(max(b) for b in full)[-rank])
            low = np.float32(sorted(min(b) for b in full)[rank - 1])
            margin = max(0.0, value - float(high), float(low) - value) / (float(high) - float(low))
        self.blocks[-1].append(value)
        if len(self.blocks[-1]) == 100:
            self.blocks.append([])
        return margin


def cut_forest(series, trees=32, sample=100, shingle=4, window=1000):
    """Guha et al., ICML 2016: InsertPoint, ForgetPoint and collusive displacement as the paper has them, by recursion, the box of a node
    measured anew each time from the points in it."""
    class Leaf:
        def __init__(self, name, x):
            self.points = {name: x}

    class Cut:
        def __init__(self, side, at, left, right):
            self.side, self.at, self.left, self.right = side, at, left, right
            self.points = {**left.points, **right.points}

    def insert(node, name, x, seed, step=0):
        box = list(node.points.values())
        low = [min(p[q] for p in box) for q in range(shingle)]
        high = [max(p[q] for p in box) for q in range(shingle)]
        lengths = [max(high[q], x[q]) - min(low[q], x[q]) for q in range(shingle)]
        total = 0.0
        for length in lengths:
            total += length
        if total == 0:
            return Cut(0, x[0], node, Leaf(name, x))
        rest, side = unit(seed + step) * total, 0
        while side + 1 < shingle and not rest < lengths[side]:
            rest -= lengths[side]
            side += 1
        at = min(low[side], x[side]) + rest
        if at < low[side]:
            return Cut(side, at, Leaf(name, x), node)
        if at >= high[side]:
            return Cut(side, at, node, Leaf(name, x))
        left, right = node.left, node.right
        if x[node.side] <= node.at:
            left = insert(left, name, x, seed, step + 1)
        else:
            right = insert(right, name, x, seed, step + 1)
        return Cut(node.side, node.at, left, right)

    def forget(node, name):
        if name not in node.points:
            return node
        if isinstance(node, Leaf):
            return None
        left, right = forget(node.left, name), forget(node.right, name)
        return right if left is None else left if right is None else Cut(node.side, node.at, left, right)

    def displacement(root, name):
        x, most, node = root.points[name], 0.0, root
        while any(p != x for p in node.points.values()):
            here, beside = (node.left, node.right) if name in node.left.points else (node.right, node.left)
            most = max(most, len(beside.points) / len(here.points))
            node = here
        return most

    forest, extremes, out, places, spare = [None] * trees, Extremes(), [], [], sample
    for n in range(len(series)):
        if n + 1 < shingle:
            out.append(0.0)
            continue
        x, full = tuple(series[n - q] for q in range(shingle)), len(places) == sample
        seed, name = n << 20, spare if full else len(places)
        goes = name
        if full and unit(seed + 1000) < sample / window:
            goes = int(unit(seed + 1001) * sample)
            goes += goes >= spare
        total = 0.0
        for t in range(trees):
            forest[t] = insert(forest[t], name, x, seed + (t + 1) * 1024) if forest[t] else Leaf(name, x)
            if full:
                total += displacement(forest[t], name)
                forest[t] = forget(forest[t], goes)
        if full:
            spare = goes
        else:
            places.append(name)
        out.append(1 - math.exp(-3 * extremes.add(total / trees)) if full else 0.0)
    return out


def silence(gaps, risk=1e-4, alpha=0.02, warm=20, missed=1):
    """Odds of gaps beside a Weibull distribution of those before, whose parameters are by Menon's formulas: of the logarithms, the mean
    is log(scale) - gamma/shape and the variance pi^2/(6 shape^2)."""
    out, mean, variance = [0.0], 0.0, 0.0
    for n, gap in enumerate(gaps):
        out.append(0.0)
        if n >= warm:
            shape = math.sqrt(math.pi**2 / 6 / max(variance, 0.05**2))
            law = weibull_min(shape, scale=math.exp(mean + np.euler_gamma / shape))
            limit = max(law.isf(risk), math.exp(mean) * (1 + missed))
            if gap >= limit:
                out[-1], gap = risk / (risk + law.sf(gap)), limit
        far, part = math.log(gap) - mean, max(1 / (n + 1), alpha)
        mean, variance = mean + part * far, (1 - part) * (variance + part * far * far)
    return out


def half_space(series, window=250, shingle=3, trees=20, depth=7):
    """Tan et al., IJCAI 2011, algorithms 1 to 3, each node an object; random numbers are SplitMix64's of tree and node."""
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
        s = [unit(t * 1000003 + q) for q in range(shingle)]
        around = [2 * max(v, 1 - v) for v in s]
        forest.append(Node(t, 0, 0, [v - a for v, a in zip(s, around)], [v + a for v, a in zip(s, around)]))
    low, high = min(series[:window]), max(series[:window])
    out, usual = [0.0] * window, Usual()
    for n in range(window, len(series)):
        x = [(series[n - q] - low) / (high - low) for q in range(shingle)]
        score = sum(tree.score(x) for tree in forest)
        for tree in forest:
            tree.learn(x)
        anomaly = 0.0
        if n >= 2 * window:
            anomaly = usual.judge(-math.log2(1 + score), 50)
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
rounded = np.round(gaussian[:1200], 1)  # many points are the same
rounded[700:760] = 0.5
write("random-cut-forest", gaussian[600:1250], cut_forest(gaussian[600:1250]), "random-cut-forest", "", 1e-9)
write("random-cut-forest-same", rounded, cut_forest(rounded, 8, 40, 2, 60), "random-cut-forest", "trees=8,sample=40,shingle=2,window=60", 1e-9)
for name, gaps in (("regular", 10 + 0.2 * rng.normal(size=400)), ("chance", rng.exponential(10, 400))):
    gaps[[250, 320]] = 60, 300
    times = 1.7e9 + np.cumsum(np.round(np.concatenate([[0], gaps]), 3))
    write("silence-" + name, times, silence(np.diff(times)), "silence", "", 1e-6)
cases.close()
