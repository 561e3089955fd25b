"""Writes random PMML trees with predicates of every kind, missing values treated in every way, and ensembles of them, rows, and what
JPMML's evaluator says: the files of pipelines.py.

    pmml_predicates.py FOLDER
"""
import json
import random
import sys
from xml.sax.saxutils import quoteattr

from jpmml_evaluator import make_evaluator

folder = sys.argv[1]
rng = random.Random(17)
COLOURS, CODES, CLASSES = ["red", "blue", 'a "b"', "dark green"], [1, 2, 3, 5], ["no", "maybe", "yes"]
HEAD = """<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>
<DataField name="v" optype="continuous" dataType="double"/><DataField name="w" optype="continuous" dataType="double"/>
<DataField name="n" optype="continuous" dataType="integer"/><DataField name="c" optype="categorical" dataType="string">%s</DataField>
<DataField name="d" optype="categorical" dataType="integer">%s</DataField>%%s</DataDictionary>""" % (
    "".join(f"<Value value={quoteattr(c)}/>" for c in COLOURS), "".join(f'<Value value="{d}"/>' for d in CODES))
NUMBER = '<DataField name="y" optype="continuous" dataType="double"/>'
CLASS = '<DataField name="y" optype="categorical" dataType="string">%s</DataField>'
SCHEMA = "<MiningSchema>" + "".join(f'<MiningField name="{f}"/>' for f in "vwncd") + '<MiningField name="y" usageType="target"/></MiningSchema>'


def simple(field, operator, value=None):
    return f'<SimplePredicate field="{field}" operator="{operator}"' + ("/>" if value is None else f" value={quoteattr(str(value))}/>")


def some(values):
    return rng.sample(values, rng.randint(1, len(values) - 1))


def pair():
    """A predicate of one field, and its contrary."""
    field = rng.choice("vvwwncd")
    if field in "cd" and rng.random() < 0.5:
        value = rng.choice(COLOURS if field == "c" else CODES)
        return simple(field, "equal", value), simple(field, "notEqual", value)
    if field in "cd" or field == "n" and rng.random() < 0.3:
        values = some(COLOURS if field == "c" else CODES)
        text = " ".join('"%s"' % v.replace('"', '\\"') if field == "c" and (" " in v or rng.random() < 0.5) else v for v in map(str, values))
        array = f'<Array n="{len(values)}" type="{"string" if field == "c" else "int"}">{text}</Array>'
        return tuple(f'<SimpleSetPredicate field="{field}" booleanOperator="{o}">{array}</SimpleSetPredicate>' for o in ("isIn", "isNotIn"))
    value = rng.randint(0, 5) if field == "n" else round(rng.gauss(0, 1), 1)
    if field == "n" and rng.random() < 0.3:
        return simple(field, "equal", value), simple(field, "notEqual", value)
    return tuple(simple(field, o, value) for o in rng.choice((("lessThan", "greaterOrEqual"), ("lessOrEqual", "greaterThan"))))


def predicate(depth=0):
    kind = rng.random()
    if kind < 0.05:
        return rng.choice(("<True/>", "<False/>"))
    if kind < 0.15:
        return simple(rng.choice("vwncd"), rng.choice(("isMissing", "isNotMissing")))
    if kind < 0.6 or depth == 2:
        return rng.choice(pair())
    how = rng.choice(("and", "or", "xor", "surrogate"))
    return f'<CompoundPredicate booleanOperator="{how}">{"".join(predicate(depth + 1) for _ in range(rng.randint(2, 3)))}</CompoundPredicate>'


def node(number, leaf, depth=0, test="<True/>"):
    """A node whose leaves have what `leaf` says; numbers are given by `number`."""
    name, below = number(), ""
    attributes, content = leaf()
    default = ""
    if depth < 3 and (depth == 0 or rng.random() < 0.7):
        tests = list(pair()) if rng.random() < 0.5 else [predicate() for _ in range(rng.randint(1, 3))]
        children = [node(number, leaf, depth + 1, t) for t in tests]
        below = "".join(xml for _, xml in children)
        default = f' defaultChild="{rng.choice(children)[0]}"'
    return name, f'<Node id="{name}"{default} {attributes}>{test}{content}{below}</Node>'


def tree(function, leaf, missing, last, segment=""):
    count = iter(range(10**6))
    root = node(lambda: str(next(count)), leaf)[1]
    return (f'<TreeModel functionName="{function}" missingValueStrategy="{missing}" noTrueChildStrategy="{last}">{SCHEMA}{root}</TreeModel>')


def number_leaf():
    return f'score="{rng.randint(1, 10**6) / 8}"', ""


def class_leaf(distribution):
    counts = [rng.randint(1, 99) for _ in CLASSES]
    if len(set(counts)) < len(counts):
        return class_leaf(distribution)
    best = CLASSES[counts.index(max(counts))]
    return f'score="{best}"', "".join(f'<ScoreDistribution value="{c}" recordCount="{n}"/>' for c, n in zip(CLASSES, counts)) if distribution else ""


rows = []
for _ in range(400):
    row = {"v": round(rng.gauss(0, 1), 1), "w": round(rng.gauss(0, 1), 1), "n": rng.randint(0, 5), "c": rng.choice(COLOURS), "d": rng.choice(CODES)}
    rows.append({k: x for k, x in row.items() if rng.random() > 0.2})
cases = open(f"{folder}/cases.ndjson", "w")


def case(name, body, target, read, rows=rows):
    path = f"{folder}/{name}.pmml"
    with open(path, "w") as f:
        f.write(HEAD % target + body + "</PMML>")
    evaluator = make_evaluator(path, backend="jpype")
    scores = [read(evaluator.evaluate({f: row.get(f) for f in "vwncd"})) for row in rows]
    for kind, list_ in (("rows", rows), ("score", scores)):
        with open(f"{folder}/{name}.{kind}.ndjson", "w") as f:
            f.writelines(json.dumps(x) + "\n" for x in list_)
    cases.write(json.dumps({"name": name, "file": f"{name}.pmml", "trainer": "pmml", "near": 1e-12}) + "\n")


def prediction(result):
    return result["y"]


def shares(result):
    return [result[f"probability({c})"] for c in CLASSES] if result["y"] is not None else [None] * len(CLASSES)


classes = CLASS % "".join(f'<Value value="{c}"/>' for c in CLASSES)
for missing in ("none", "defaultChild", "nullPrediction", "lastPrediction"):
    for last in ("returnNullPrediction", "returnLastPrediction"):
        for n in range(6):
            case(f"tree-{missing}-{last}-{n}", tree("regression", number_leaf, missing, last), NUMBER, prediction)
for how in ("sum", "weightedSum", "average", "weightedAverage"):
    segments = "".join(f'<Segment weight="{rng.randint(1, 9) / 4}"><True/>{tree("regression", number_leaf, "none", "returnLastPrediction")}</Segment>'
                       for _ in range(5))
    case(f"trees-{how}", f'<MiningModel functionName="regression">{SCHEMA}<Segmentation multipleModelMethod="{how}">{segments}</Segmentation></MiningModel>',
         NUMBER, prediction)
output = "<Output>" + "".join(f'<OutputField name="probability({c})" feature="probability" value="{c}" optype="continuous" dataType="double"/>' for c in CLASSES) + "</Output>"
for how, distribution in (("majorityVote", False), ("majorityVote", True), ("weightedMajorityVote", True), ("average", True)):
    segments = "".join(f'<Segment weight="{rng.randint(1, 9) / 4}"><True/>{tree("classification", lambda: class_leaf(distribution), "none", "returnLastPrediction")}'
                       "</Segment>" for _ in range(5))
    case(f"trees-{how}-{distribution}", f'<MiningModel functionName="classification">{SCHEMA}{output}'
         f'<Segmentation multipleModelMethod="{how}">{segments}</Segmentation></MiningModel>', classes, shares)


def table(category=""):
    numbers = "".join(f'<NumericPredictor name="{f}" coefficient="{rng.randint(-9, 9) / 8}"/>' for f in "vwn")
    values = "".join(f'<CategoricalPredictor name="c" value={quoteattr(c)} coefficient="{rng.randint(-9, 9) / 8}"/>' for c in COLOURS[1:])
    return f'<RegressionTable intercept="{rng.randint(-9, 9) / 8}"{category}>{numbers}{values}</RegressionTable>'


for how in ("none", "exp", "logit"):
    case(f"regression-{how}", f'<RegressionModel functionName="regression" normalizationMethod="{how}">{SCHEMA}{table()}</RegressionModel>', NUMBER, prediction)
for labels in (CLASSES, CLASSES[:2]):
    tables = "".join(table(f' targetCategory="{c}"') for c in labels)
    probabilities = output if len(labels) == 3 else output.replace(output[output.index("<OutputField name=\"probability(yes)"):-9], "")
    case(f"regression-softmax-{len(labels)}", f'<RegressionModel functionName="classification" normalizationMethod="softmax">{SCHEMA}{probabilities}{tables}'
         "</RegressionModel>", CLASS % "".join(f'<Value value="{c}"/>' for c in labels),
         shares if len(labels) == 3 else lambda result: result["probability(maybe)"] if result["y"] is not None else None)

# derived fields, and what the schema makes of values
DERIVED = {
    "float": '<FieldRef field="v"/>', "missing": '<FieldRef field="w" mapMissingTo="0.75"/>',
    "scaled": '<Apply function="/"><Apply function="-"><FieldRef field="v"/><Constant dataType="double">0.3</Constant></Apply>'
              '<Constant dataType="double">1.7</Constant></Apply>',
    "turned": '<Apply function="-"><Constant dataType="double">2.5</Constant><Apply function="*"><Constant dataType="double">3</Constant>'
              '<FieldRef field="scaled"/></Apply></Apply>',
    "norm": '<NormContinuous field="v"><LinearNorm orig="-1" norm="0"/><LinearNorm orig="2" norm="5"/></NormContinuous>',
    "clipped": '<NormContinuous field="w" outliers="asExtremeValues" mapMissingTo="0.5"><LinearNorm orig="-0.5" norm="0"/><LinearNorm orig="0.5" norm="1"/>'
               "</NormContinuous>",
    "is": '<NormDiscrete field="c" value="blue" mapMissingTo="0.25"/>',
    "if": '<Apply function="if"><Apply function="isMissing"><FieldRef field="w"/></Apply><Constant dataType="double">-4</Constant><FieldRef field="w"/></Apply>',
    "ifnot": '<Apply function="if"><Apply function="isNotMissing"><FieldRef field="n"/></Apply><FieldRef field="n"/><Constant dataType="double">7</Constant></Apply>',
    "map": '<MapValues outputColumn="out" defaultValue="0.125" mapMissingTo="9"><FieldColumnPair field="c" column="in"/><InlineTable>'
           + "".join(f"<row><in>{c}</in><out>{i * 1.5}</out></row>" for i, c in enumerate(COLOURS[1:])) + "</InlineTable></MapValues>",
}
local = "".join(f'<DerivedField name="{n}" optype="continuous" dataType="{"float" if n == "float" else "double"}">{e}</DerivedField>' for n, e in DERIVED.items())
for name in DERIVED:
    case(f"derived-{name}", f'<RegressionModel functionName="regression">{SCHEMA}<LocalTransformations>{local}</LocalTransformations>'
         f'<RegressionTable intercept="0.5"><NumericPredictor name="{name}" coefficient="2"/></RegressionTable></RegressionModel>', NUMBER, prediction)
for name, attributes in (("missing", 'missingValueReplacement="0.375"'), ("extreme", 'outliers="asExtremeValues" lowValue="-0.5" highValue="0.75"')):
    schema = SCHEMA.replace('name="v"', f'name="v" {attributes}')
    case(f"schema-{name}", f'<RegressionModel functionName="regression">{schema}{table()}</RegressionModel>', NUMBER, prediction)
schema = SCHEMA.replace('name="c"', 'name="c" missingValueReplacement="blue"').replace('name="d"', 'name="d" missingValueReplacement="3"')
odd = [{**row, "c": rng.choice(["violet", "red"])} if rng.random() < 0.3 else row for row in rows]
for how in ('invalidValueTreatment="asMissing"', 'invalidValueTreatment="asMissing" missingValueReplacement="red"',
            'invalidValueTreatment="asValue" invalidValueReplacement="blue"'):
    schema = SCHEMA.replace('name="c"', f'name="c" {how}')
    for missing in ("none", "nullPrediction"):
        leaves = iter(range(10))
        body = "".join(f'<Node score="{next(leaves)}">{simple("c", "equal", c)}</Node>' for c in COLOURS)
        case(f"schema-invalid-{how.count('=')}-{'asValue' in how}-{missing}", f'<TreeModel functionName="regression" missingValueStrategy="{missing}" '
             f'noTrueChildStrategy="returnLastPrediction">{schema}<Node score="99"><True/>{body}</Node></TreeModel>', NUMBER, prediction, odd)
case("schema-categories", tree("regression", number_leaf, "lastPrediction", "returnLastPrediction").replace(SCHEMA, schema), NUMBER, prediction)
cases.close()
