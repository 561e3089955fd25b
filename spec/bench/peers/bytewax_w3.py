# bytewax_w3.py: W3 of spec/bench/windows.lua in Bytewax, as fast as its window operator was found to go: each key's events in
# the order they come (sums do not mind), and a clock that stands, since with one that runs each look at the windows goes
# through all keys. INPUT and OUTPUT are in the environment.
import json
import os
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse(line):
    e = json.loads(line)
    return e["user"], (e["ts"], e["amount"])


def add(sums, payment):
    sums[0] += 1
    sums[1] += payment[1]
    return sums


def merge(a, b):
    return [a[0] + b[0], a[1] + b[1]]


def tell(item):
    user, (window, (n, total)) = item
    if n <= 5:
        return None
    return user, json.dumps({"key": user, "start": window * 60, "n": n, "total": round(total, 2)})


clock = EventClock(
    ts_getter=lambda p: EPOCH + timedelta(milliseconds=p[0]),
    wait_for_system_duration=timedelta(seconds=5),
    now_getter=lambda: EPOCH,
    to_system_utc=lambda ts: None,
)
flow = Dataflow("w3")
lines = op.input("in", flow, FileSource(os.environ["INPUT"], batch_size=1000))
keyed = op.map("parse", lines, parse)
minutes = TumblingWindower(length=timedelta(seconds=60), align_to=EPOCH)
windows = win.fold_window("w", keyed, clock, minutes, lambda: [0, 0.0], add, merge, ordered=False)
op.output("out", op.filter_map("tell", windows.down, tell), FileSink(os.environ["OUTPUT"]))
