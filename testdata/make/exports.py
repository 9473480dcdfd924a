"""Writes graphs as exporters of tree ensembles write them: what is served in Go, and what is left to ONNX Runtime.

usage: exports.py DIR    (needs numpy 2.4.6, pandas, scikit-learn 1.9.1, skl2onnx 1.20.0, onnx 1.22.0, onnxmltools 1.16.0,
                          lightgbm 4.7.0, xgboost 3.2.0, catboost 1.2.10)

DIR is backends/onnx/testdata/exports. The test TestExports writes what becomes of each to exports.txt beside it. What the
data are does not matter: they are drawn.
"""
import pathlib
import sys
import tempfile

import catboost
import lightgbm
import numpy as np
import onnx
import onnxmltools
import pandas
import xgboost
from onnx import helper as h
from onnxmltools.convert.common.data_types import FloatTensorType as Floats
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (AdaBoostRegressor, BaggingRegressor, ExtraTreesClassifier, ExtraTreesRegressor, GradientBoostingClassifier, HistGradientBoostingClassifier,
                              HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (Binarizer, KBinsDiscretizer, MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, PowerTransformer, QuantileTransformer, RobustScaler,
                                   StandardScaler)
from sklearn.tree import DecisionTreeRegressor

WIDTH, ROWS = 5, 400
OPSET = {"": 17, "ai.onnx.ml": 3}
random = np.random.RandomState(0)
X = random.randn(ROWS, WIDTH).astype(np.float32)
HOLES = X.copy()
HOLES[::7, 2] = np.nan
Y = X[:, 0] * 2 + X[:, 1] ** 2 + random.randn(ROWS) * 0.1
CLASS, TRIPLE, POSITIVE = (Y > 1).astype(int), np.digitize(Y, [0, 2]), np.abs(Y) + 0.1
TABLE = pandas.DataFrame(X, columns=list("abcde")).assign(k=random.randint(0, 5, ROWS), s=random.choice(["x", "y", "z"], ROWS))
INPUTS = {c: FloatTensorType([None, 1]) for c in "abcde"} | {"k": Int64TensorType([None, 1]), "s": StringTensorType([None, 1])}


def plain_numbers():
    """Lets onnx take the numpy numbers that skl2onnx writes for histogram-based trees."""
    make = h.make_attribute

    def changed(key, value, *more, **named):
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], (np.generic, bool)):
            value = [int(v) if isinstance(v, (bool, np.bool_, np.integer)) else v for v in value]
        return make(key, value, *more, **named)

    h.make_attribute = changed


def isolation(**more):
    return IsolationForest(n_estimators=3, random_state=0, max_samples=16, **more)


def skl(model, rows=X, target=Y, opset=OPSET, **more):
    return to_onnx(model.fit(rows, target), X[:1], target_opset=opset, **more)


def isolations(out):
    out("iforest-bootstrap", skl(isolation(bootstrap=True)))
    out("iforest-contamination", skl(isolation(contamination=0.1)))
    out("iforest-opset13", skl(isolation(), opset={"": 13, "ai.onnx.ml": 2}))
    out("iforest-opset21", skl(isolation(), opset={"": 21, "ai.onnx.ml": 3}))
    out("iforest-samples", skl(isolation(), options={"score_samples": True}))
    before = {"binarizer": Binarizer(), "kbins": KBinsDiscretizer(4, encode="ordinal"), "maxabs": MaxAbsScaler(), "poly": PolynomialFeatures(2), "power": PowerTransformer(),
              "quantile": QuantileTransformer(n_quantiles=20), "robust": RobustScaler(), "centred": StandardScaler(with_std=False)}
    for name, step in before.items():
        out("pipeline-" + name, skl(make_pipeline(step, isolation())))
    out("pipeline-imputer-scaler", skl(make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), isolation()), HOLES))


def columns(out):
    number = ("n", StandardScaler(), list("abc"))

    def write(name, *parts):
        used = [c for part in parts for c in part[2]]
        model = make_pipeline(ColumnTransformer(list(parts)), isolation()).fit(TABLE)
        out("columns-" + name, to_onnx(model, initial_types=[(c, INPUTS[c]) for c in used], target_opset=OPSET))

    write("scalers", number, ("m", MinMaxScaler(), list("de")))
    write("passthrough", number, ("p", "passthrough", list("de")))
    write("imputer", ("n", make_pipeline(SimpleImputer(), StandardScaler()), list("abc")), ("s", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["s"]))
    write("onehot", number, ("s", OneHotEncoder(handle_unknown="ignore"), ["s"]))
    write("onehot-integers", number, ("k", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["k"]))
    write("ordinal", number, ("s", OrdinalEncoder(), ["s"]))
    write("integers", number, ("k", "passthrough", ["k"]))
    write("integers-scaled", number, ("k", MinMaxScaler(), ["k"]))
    for name, rest in [("matrix", "drop"), ("matrix-rest", "passthrough")]:
        out("columns-" + name, skl(make_pipeline(ColumnTransformer([("n", StandardScaler(), [0, 2])], remainder=rest), isolation())))


def sklearn(out):
    out("extra-trees", skl(ExtraTreesRegressor(3, random_state=0, max_depth=5)))
    out("hist-boosting", skl(HistGradientBoostingRegressor(max_iter=3), HOLES))
    out("bagging", skl(BaggingRegressor(DecisionTreeRegressor(max_depth=3), 3)))
    out("adaboost", skl(AdaBoostRegressor(DecisionTreeRegressor(max_depth=3), n_estimators=3)))
    out("random-forest-targets", skl(RandomForestRegressor(3, random_state=0, max_depth=3), X, np.c_[Y, Y**2]))
    for name, model in {"random-forest": RandomForestClassifier(3, random_state=0, max_depth=4), "extra-trees": ExtraTreesClassifier(3, random_state=0, max_depth=4),
                        "boosting": GradientBoostingClassifier(n_estimators=3, random_state=0), "hist-boosting": HistGradientBoostingClassifier(max_iter=3)}.items():
        for classes, labels in [("two", CLASS), ("three", TRIPLE)]:
            out(f"{name}-{classes}", skl(model, X, labels))


def boosters(out):
    of = [("input", Floats([None, WIDTH]))]

    def lgbm(name, model, target, rows=X, **more):
        out("lightgbm-" + name, onnxmltools.convert_lightgbm(model.fit(rows, target), initial_types=of, target_opset=15, **more))

    quiet = {"n_estimators": 3, "num_leaves": 10, "verbose": -1}
    for objective in ["poisson", "tweedie", "quantile", "huber"]:
        lgbm(objective, lightgbm.LGBMRegressor(objective=objective, **quiet), POSITIVE)
    lgbm("forest", lightgbm.LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **quiet), Y)
    lgbm("dart", lightgbm.LGBMRegressor(boosting_type="dart", **quiet), Y)
    lgbm("zero-missing", lightgbm.LGBMRegressor(zero_as_missing=True, **quiet), Y)
    lgbm("split", lightgbm.LGBMRegressor(**quiet | {"n_estimators": 8}), Y, split=3)
    lgbm("two-zipped", lightgbm.LGBMClassifier(**quiet), CLASS)
    lgbm("two-forest", lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **quiet), CLASS)
    lgbm("three-against-all", lightgbm.LGBMClassifier(objective="multiclassova", **quiet), TRIPLE, zipmap=False)
    update_registered_converter(lightgbm.LGBMRegressor, "LightGbm", calculate_linear_regressor_output_shapes, convert_lightgbm, options={"split": None})
    out("lightgbm-pipeline", skl(make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**quiet))))

    def xgb(name, model, target):
        out("xgboost-" + name, onnxmltools.convert_xgboost(model.fit(HOLES, target), initial_types=of, target_opset=15))

    small = {"n_estimators": 3, "max_depth": 3}
    for objective in ["reg:logistic", "count:poisson", "reg:gamma", "binary:logitraw"]:
        xgb(objective.split(":")[1], xgboost.XGBRegressor(objective=objective, **small), CLASS if "logi" in objective else POSITIVE)
    xgb("forest", xgboost.XGBRFRegressor(**small), Y)
    xgb("three-softmax", xgboost.XGBClassifier(objective="multi:softmax", **small), TRIPLE)


def cats(out):
    fast = {"iterations": 3, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False, "random_seed": 0}

    def write(name, model, target, rows=X):
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            model.fit(rows, target).save_model(file.name, format="onnx")
            out("catboost" + name, onnx.load(file.name))

    write("", catboost.CatBoostRegressor(**fast), Y)
    write("-missing", catboost.CatBoostRegressor(**fast), Y, HOLES)
    write("-missing-last", catboost.CatBoostRegressor(nan_mode="Max", **fast), Y, HOLES)
    write("-targets", catboost.CatBoostRegressor(loss_function="MultiRMSE", **fast), np.c_[Y, Y])
    write("-two", catboost.CatBoostClassifier(**fast), CLASS)
    write("-three", catboost.CatBoostClassifier(**fast), TRIPLE)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    def out(name, model):
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())

    plain_numbers()
    for write in [isolations, columns, sklearn, boosters, cats]:
        write(out)


main()
