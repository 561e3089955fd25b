# bytewax_flow.py: the rule of spec/bench/files.lua in Bytewax: a file split in two. INPUT, A and B are in the environment.
import json
import os

import bytewax.operators as op
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow


def is_first(line):
    e = json.loads(line)
    return (e["amount"] > 900 and e["country"] == "FR") or e["device"]["os"] == "ios"


flow = Dataflow("peer")
lines = op.input("in", flow, FileSource(os.environ["INPUT"], batch_size=1000))
parts = op.branch("split", lines, is_first)
op.output("a", op.map("ka", parts.trues, lambda line: ("k", line)), FileSink(os.environ["A"]))
op.output("b", op.map("kb", parts.falses, lambda line: ("k", line)), FileSink(os.environ["B"]))
