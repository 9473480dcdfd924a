"""Small random ONNX graphs. The score of a row depends on that row only."""
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T, helper as h, numpy_helper as nh

TENSOR = {"float32": T.FLOAT, "float64": T.DOUBLE, "int64": T.INT64, "bool": T.BOOL, "string": T.STRING}
ARRAY = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "bool": np.bool_, "string": object}
OPSETS = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)]


def const(name, value, dtype):
    return nh.from_array(np.asarray(value, dtype), name)


def build(nodes, inputs, kind, initializers):
    outputs = [h.make_tensor_value_info("score", kind, ["N", 1])]
    return h.make_model(h.make_graph(nodes, "g", inputs, outputs, initializers), opset_imports=OPSETS, ir_version=8)


def matrix(dtype, width):
    return [h.make_tensor_value_info("X", TENSOR[dtype], ["N", width])]


def identity(rng, dtype, _):
    """Returns the only feature, so that tests see each bit that was read; an int64 comes in two halves."""
    if dtype != "int64":
        return build([h.make_node("Identity", ["X"], ["score"])], matrix(dtype, 1), TENSOR[dtype], [])
    high = rng.random() < 0.5
    nodes = [h.make_node("Div", ["X", "unit"], ["high"]), h.make_node("Mul", ["high", "unit"], ["cut"]), h.make_node("Sub", ["X", "cut"], ["low"]),
             h.make_node("Cast", ["high" if high else "low"], ["score"], to=T.DOUBLE)]
    return build(nodes, matrix(dtype, 1), T.DOUBLE, [const("unit", [[2**32]], np.int64)])


def weighted(rng, dtype, width):
    """Adds, in order, the features with weights, or their distances from a centre."""
    real = "float64" if dtype == "int64" else dtype
    nodes, total = [h.make_node("Cast", ["X"], ["x"], to=TENSOR[real])], None
    initializers = [const("w", [[rng.gauss(0, 1) for _ in range(width)]], ARRAY[real])]
    how = rng.choice(["linear", "square", "absolute"])
    nodes.append(h.make_node("Mul" if how == "linear" else "Sub", ["x", "w"], ["d"]))
    if how != "linear":
        nodes.append(h.make_node("Mul", ["d", "d"], ["t"]) if how == "square" else h.make_node("Abs", ["d"], ["t"]))
    for j in range(width):
        initializers.append(const(f"{j}", [j], np.int64))
        nodes.append(h.make_node("Gather", ["d" if how == "linear" else "t", f"{j}"], [f"c{j}"], axis=1))
        if total:
            nodes.append(h.make_node("Add", [total, f"c{j}"], [f"s{j}"]))
        total = f"s{j}" if total else f"c{j}"
    nodes.append(h.make_node("Identity", [total], ["score"]))
    return build(nodes, matrix(dtype, width), TENSOR[real], initializers)


def reduced(rng, dtype, width):
    """Adds the features in the kernel's order."""
    nodes = [h.make_node("Sub", ["X", "w"], ["d"]), h.make_node("Abs", ["d"], ["t"]), h.make_node("ReduceSum", ["t", "axis"], ["score"], keepdims=1)]
    return build(nodes, matrix(dtype, width), TENSOR[dtype], [const("w", [[rng.gauss(0, 1) for _ in range(width)]], ARRAY[dtype]), const("axis", [1], np.int64)])


def curved(rng, dtype, width):
    """Returns scores that are not finite for some rows, and whose last bits depend on the place in a vector register."""
    nodes = [h.make_node("Cast", ["X"], ["x"], to=T.DOUBLE), h.make_node("ReduceSum", ["x", "axis"], ["t"], keepdims=1), h.make_node(rng.choice(["Log", "Reciprocal", "Sqrt", "Exp"]), ["t"], ["score"])]
    return build(nodes, matrix(dtype, width), T.DOUBLE, [const("axis", [1], np.int64)])


def forest(rng, dtype, width):
    """Adds or averages trees of depths up to 4 over float32."""
    nodes = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true")}
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree, depth):
        at = sum(t == tree for t in nodes["treeids"])
        leaf = depth == 0 or rng.random() < 0.15
        here = len(nodes["treeids"])
        for key, value in (("treeids", tree), ("nodeids", at), ("featureids", 0 if leaf else rng.randrange(width)), ("values", 0.0 if leaf else rng.choice([0.0, 0.1, 1.5, rng.gauss(0, 5)])),
                           ("modes", "LEAF" if leaf else "BRANCH_LEQ"), ("truenodeids", 0), ("falsenodeids", 0), ("missing_value_tracks_true", int(rng.random() < 0.5))):
            nodes[key].append(value)
        if leaf:
            for key, value in (("treeids", tree), ("nodeids", at), ("ids", 0), ("weights", rng.gauss(0, 1))):
                leaves[key].append(value)
        else:
            nodes["truenodeids"][here] = grow(tree, depth - 1)
            nodes["falsenodeids"][here] = grow(tree, depth - 1)
        return at

    for tree in range(rng.choice([1, 3, 20, 60])):
        grow(tree, rng.randint(1, 4))
    attributes = {f"nodes_{key}": value for key, value in nodes.items()} | {f"target_{key}": value for key, value in leaves.items()}
    trees = h.make_node("TreeEnsembleRegressor", ["X"], ["score"], domain="ai.onnx.ml", n_targets=1, aggregate_function=rng.choice(["SUM", "AVERAGE"]), **attributes)
    return build([trees], matrix(dtype, width), T.FLOAT, [])


def network(rng, dtype, width):
    """Makes two dense layers, the only kind here whose kernels may add in another order beside other rows."""
    weights = [const("w1", [[rng.gauss(0, 1) for _ in range(5)] for _ in range(width)], np.float32), const("b1", [rng.gauss(0, 1) for _ in range(5)], np.float32),
               const("w2", [[rng.gauss(0, 1)] for _ in range(5)], np.float32)]
    nodes = [h.make_node("Gemm", ["X", "w1", "b1"], ["t"]), h.make_node("Relu", ["t"], ["r"]), h.make_node("MatMul", ["r", "w2"], ["score"])]
    return build(nodes, matrix(dtype, width), T.FLOAT, weights)


def columns(rng, features):
    """Has one input for each feature, of mixed types; a table maps texts to numbers."""
    nodes, terms, initializers = [], [], []
    for i, feature in enumerate(features):
        name, dtype = feature["name"], feature["dtype"]
        if dtype == "string":
            keys = ["a", "b", "", "東京", "straße", "null", "a\r\nb", " a"]
            nodes.append(h.make_node("LabelEncoder", [name], [f"#f{i}"], domain="ai.onnx.ml", keys_strings=keys, values_floats=[float(2**k) for k in range(len(keys))], default_float=0.5))
        nodes.append(h.make_node("Cast", [f"#f{i}" if dtype == "string" else name], [f"#d{i}"], to=T.DOUBLE))
        initializers.append(const(f"#w{i}", [[rng.choice([1.0, -1.0, rng.gauss(0, 1)])]], np.float64))
        nodes.append(h.make_node("Mul", [f"#d{i}", f"#w{i}"], [f"#t{i}"]))
        terms.append(f"#t{i}")
    nodes.append(h.make_node("Sum", terms, ["score"]) if len(terms) > 1 else h.make_node("Identity", terms, ["score"]))
    return build(nodes, [h.make_tensor_value_info(f["name"], TENSOR[f["dtype"]], ["N", 1]) for f in features], T.DOUBLE, initializers)


class Session:
    """Runs a graph in ONNX Runtime, one row at a time."""

    def __init__(self, blob, output=None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
        self.inputs = self.session.get_inputs()
        self.output = output or self.session.get_outputs()[0].name

    def raw(self, features, row):
        if len(self.inputs) == 1:
            feed = {self.inputs[0].name: np.array([row], ARRAY[features[0]["dtype"]])}
        else:
            feed = {f["name"]: np.array([[v]], ARRAY[f["dtype"]]) for f, v in zip(features, row)}
        return float(np.ravel(self.session.run([self.output], feed)[0])[0])
