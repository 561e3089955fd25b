"""onnx_peer.py FOLDER: the same for ONNX Runtime, from Python, one thread. A single row has Python's own microsecond or so in it."""
import sys
import time

import numpy as np
import onnxruntime as ort

folder = sys.argv[1]
rows = np.fromfile(f"{folder}/rows.f64").reshape(-1, 30).astype(np.float32)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
for name in ("xgb", "lgb"):
    session = ort.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
    output = [session.get_outputs()[-1].name]
    single = batch = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for r in range(2000):
            session.run(output, {"x": rows[r:r + 1]})
        single = min(single, (time.perf_counter() - start) / 2000)
        start = time.perf_counter()
        for r in range(0, len(rows), 1000):
            session.run(output, {"x": rows[r:r + 1000]})
        batch = min(batch, (time.perf_counter() - start) / len(rows))
    print(name, "onnxruntime", f"{single * 1e9:.1f} {batch * 1e9:.1f}")
