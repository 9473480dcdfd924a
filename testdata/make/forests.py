"""Writes small tree ensembles of the usual exporters, and odd ones, to compare with ONNX Runtime.

usage: forests.py DIR    (needs numpy 2.4.6, scikit-learn 1.9.1, skl2onnx 1.20.0, onnx 1.22.0, onnxmltools 1.16.0,
                          lightgbm 4.7.0, xgboost 3.2.0)

DIR is backends/onnx/testdata/forests. What the data are does not matter: they are drawn.
"""
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import onnxmltools
import xgboost
from onnx import TensorProto, helper as h, numpy_helper as nh
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler

OPSET = {"": 15, "ai.onnx.ml": 3}
WIDTH = 5
random = np.random.RandomState(0)
X = random.randn(400, WIDTH).astype(np.float32)
HOLES = X.copy()
HOLES[::7, 2] = np.nan
KINDS = X.copy()
KINDS[:, 4] = random.randint(0, 12, 400)
Y = X[:, 0] * 2 + X[:, 1] ** 2 + random.randn(400) * 0.1
CLASS = (Y > 1).astype(int)
TRIPLE = np.digitize(Y, [0, 2])


def isolation(rows=32):
    return IsolationForest(n_estimators=5, random_state=0, max_samples=rows)


def sklearn(out):
    pipelines = {
        "iforest": isolation(), "iforest-scaled": make_pipeline(StandardScaler(), isolation()), "iforest-normalised": make_pipeline(Normalizer(), isolation()),
        "iforest-minmax": make_pipeline(MinMaxScaler(clip=True), isolation()), "iforest-l1": make_pipeline(Normalizer("l1"), isolation(16)),
        "iforest-max": make_pipeline(Normalizer("max"), isolation(16)),
        "random-forest": RandomForestRegressor(5, max_depth=4, random_state=0), "random-forest-deep": RandomForestRegressor(1, min_samples_leaf=3, random_state=0),
        "boosted": GradientBoostingRegressor(n_estimators=10, random_state=0),
    }
    for name, pipeline in pipelines.items():
        out(name, to_onnx(pipeline.fit(X, Y), X[:1], target_opset=OPSET))
    imputed = make_pipeline(SimpleImputer(), RobustScaler(), isolation()).fit(HOLES)
    out("iforest-imputed", to_onnx(imputed, X[:1], target_opset=OPSET))
    out("iforest-samples", to_onnx(isolation().fit(X), X[:1], target_opset=OPSET, options={"score_samples": True}))
    for name, model, labels in [("class-two", RandomForestClassifier(5, max_depth=4, random_state=0), CLASS), ("class-three", RandomForestClassifier(5, max_depth=3, random_state=0), TRIPLE),
                                ("class-boosted", GradientBoostingClassifier(n_estimators=5, random_state=0), CLASS),
                                ("class-boosted-three", GradientBoostingClassifier(n_estimators=3, random_state=0), TRIPLE)]:
        out(name, column(to_onnx(model.fit(X, labels), X[:1], target_opset=OPSET, options={"zipmap": False}), 1))


def boosters(out):
    of = [("input", FloatTensorType([None, WIDTH]))]
    lgbm, xgb = onnxmltools.convert_lightgbm, onnxmltools.convert_xgboost
    out("lightgbm", lgbm(lightgbm.LGBMRegressor(n_estimators=5, num_leaves=12, verbose=-1).fit(HOLES, Y), initial_types=of, target_opset=15))
    kinds = lightgbm.LGBMRegressor(n_estimators=5, num_leaves=12, verbose=-1)
    kinds.fit(KINDS, Y + np.isin(KINDS[:, 4], [1, 4, 7]) * 3, categorical_feature=[4])
    out("lightgbm-kinds", lgbm(kinds, initial_types=of, target_opset=15))
    for name, labels in [("lightgbm-two", CLASS), ("lightgbm-three", TRIPLE)]:
        model = lightgbm.LGBMClassifier(n_estimators=4, num_leaves=8, verbose=-1).fit(X, labels)
        out(name, column(lgbm(model, initial_types=of, target_opset=15, zipmap=False), 1))
    out("xgboost", xgb(xgboost.XGBRegressor(n_estimators=8, max_depth=4).fit(HOLES, Y), initial_types=of, target_opset=15))
    for name, labels in [("xgboost-two", CLASS), ("xgboost-three", TRIPLE)]:
        out(name, column(xgb(xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(HOLES, labels), initial_types=of, target_opset=15), 1))


def column(model, at):
    """Makes the graph end with one column of its probabilities."""
    scores = model.graph.output[1].name
    for output in list(model.graph.output):
        model.graph.output.remove(output)
    model.graph.initializer.append(nh.from_array(np.array([at], np.int64), "column"))
    model.graph.node.append(h.make_node("ArrayFeatureExtractor", [scores, "column"], ["score"], domain="ai.onnx.ml"))
    model.graph.output.append(h.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1]))
    return model


def odd(out):
    """Writes ensembles that no exporter writes, over all modes, aggregates and post transforms."""
    draw = np.random.RandomState(1)
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]

    def regressor(number, kind, aggregate, post, targets=1, tensors=False):
        nodes, leaves = [], []
        for tree in range(7):
            mine = [modes[number % 6]] if number < 6 else modes
            depth = 3
            for node in range(2 ** (depth + 1) - 1):
                leaf = node >= 2**depth - 1
                nodes.append((tree, node, draw.randint(WIDTH), "LEAF" if leaf else mine[draw.randint(len(mine))], 0.0 if leaf else draw.randint(-4, 5) / 4,
                              0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2, int(not leaf and draw.randint(3) == 0)))
                if leaf:
                    leaves += [(tree, node, target, float(np.float32(draw.randn()))) for target in range(targets)]
        fields = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
        attributes = {f"nodes_{name}": list(values) for name, values in zip(fields, zip(*nodes))}
        attributes |= {f"target_{name}": list(values) for name, values in zip(["treeids", "nodeids", "ids", "weights"], zip(*leaves))}
        attributes["base_values"] = [float(np.float32(v)) for v in draw.randn(targets)]
        if tensors:
            for name in ["nodes_values", "target_weights", "base_values"]:
                attributes[f"{name}_as_tensor"] = nh.from_array(np.array(attributes.pop(name), np.float64), name)
        tail = [h.make_node("ArrayFeatureExtractor", ["all", "column"], ["score"], domain="ai.onnx.ml")]
        graph = h.make_graph(
            [h.make_node("TreeEnsembleRegressor", ["X"], ["all"], domain="ai.onnx.ml", n_targets=targets, aggregate_function=aggregate, post_transform=post, **attributes)] + tail,
            "odd", [h.make_tensor_value_info("X", kind, ["N", WIDTH])], [h.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
            [nh.from_array(np.array([0], np.int64), "column")])
        return h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=8)

    def out(name, model, write=out):
        onnx.checker.check_model(model)
        write(name, model)

    for i, mode in enumerate(modes):
        out("mode-" + mode[7:].lower(), regressor(i, TensorProto.FLOAT, "SUM", "NONE"))
    for i, aggregate in enumerate(["SUM", "AVERAGE", "MIN", "MAX"]):
        out("aggregate-" + aggregate.lower(), regressor(9, TensorProto.FLOAT, aggregate, "NONE"))
    for post in ["LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]:
        out("post-" + post.lower(), regressor(9, TensorProto.FLOAT, "SUM", post))
        out("posts-" + post.lower(), regressor(9, TensorProto.FLOAT, "SUM", post, targets=3))
    out("double", regressor(9, TensorProto.DOUBLE, "SUM", "NONE"))
    out("double-tensors", regressor(9, TensorProto.DOUBLE, "AVERAGE", "NONE", tensors=True))
    out("leaf", leaves(1, "SUM"))
    out("leaves", leaves(3, "AVERAGE"))
    out("five", five(draw, np.float32))
    out("five-double", five(draw, np.float64))


def leaves(trees, aggregate):
    """Returns trees that are leaves."""
    nodes = h.make_node("TreeEnsembleRegressor", ["X"], ["score"], domain="ai.onnx.ml", n_targets=1, aggregate_function=aggregate, nodes_treeids=list(range(trees)), nodes_nodeids=[0] * trees,
                        nodes_featureids=[0] * trees, nodes_values=[0.0] * trees, nodes_modes=["LEAF"] * trees, nodes_truenodeids=[0] * trees, nodes_falsenodeids=[0] * trees,
                        nodes_missing_value_tracks_true=[1] * trees, target_treeids=list(range(trees)), target_nodeids=[0] * trees, target_ids=[0] * trees,
                        target_weights=[0.3 * (i + 1) for i in range(trees)])
    graph = h.make_graph([nodes], "leaves", [h.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 2])], [h.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])])
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=8)


def five(draw, kind):
    """Returns an ensemble of ai.onnx.ml 5 with sets."""
    nodes, leaves, members, roots = [], [], [], []
    for _ in range(5):
        roots.append(len(nodes))
        first = len(nodes)
        for node in range(7):
            mode = [0, 1, 2, 3, 4, 5, 6][draw.randint(7)]
            if mode == 6:
                members += [float(v) for v in draw.choice(9, 3, replace=False) + 1] + [float("nan")]
            children = [2 * node + 1, 2 * node + 2]
            leaf = node >= 3
            refs = [len(leaves), len(leaves) + 1] if leaf else [first + c for c in children]
            if leaf:
                leaves += [float(kind(draw.randn())), float(kind(draw.randn()))]
            nodes.append((draw.randint(WIDTH), mode, draw.randint(-4, 5) / 4, refs[0], refs[1], int(leaf), int(leaf), int(draw.randint(3) == 0)))
    features, modes, splits, yes, no, yes_leaf, no_leaf, missing = map(list, zip(*nodes))
    tensor = lambda values, name, of=kind: nh.from_array(np.array(values, of), name)
    elem = TensorProto.FLOAT if kind is np.float32 else TensorProto.DOUBLE
    node = h.make_node("TreeEnsemble", ["X"], ["score"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0, tree_roots=roots, nodes_featureids=features,
                       nodes_modes=tensor(modes, "modes", np.uint8), nodes_splits=tensor(splits, "splits"), nodes_truenodeids=yes, nodes_falsenodeids=no, nodes_trueleafs=yes_leaf,
                       nodes_falseleafs=no_leaf, nodes_missing_value_tracks_true=missing, leaf_targetids=[0] * len(leaves), leaf_weights=tensor(leaves, "weights"),
                       membership_values=tensor(members, "members"))
    graph = h.make_graph([node], "five", [h.make_tensor_value_info("X", elem, ["N", WIDTH])], [h.make_tensor_value_info("score", elem, ["N", 1])])
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 21), h.make_opsetid("ai.onnx.ml", 5)], ir_version=10)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    def out(name, model):
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())

    sklearn(out)
    boosters(out)
    odd(out)


main()
