"""What a row is for a model: typed values, or the features that it must be refused for."""
import math

import numpy as np

import exact

MISSING = "missing"


class Refused(Exception):
    """A value that its feature does not take."""


def typed(feature, kind, value):
    """What a cell of JSON is for a feature; MISSING where the manifest decides."""
    dtype = feature["dtype"]
    if kind in ("null", "absent"):
        return MISSING
    if kind == "number" and dtype in ("float32", "float64", "int64"):
        return number(exact.of_text(value), dtype)
    if kind == "text" and dtype == "string":
        if "\0" in value:
            raise Refused
        return value
    if kind == "truth" and dtype == "bool":
        return value
    raise Refused


def number(exactly, dtype):
    out = exact.rounded(exactly, dtype)
    if out is None:
        raise Refused
    return out


def of_table(feature, value):
    """What a value of a typed table, None where there is none, is for a feature."""
    dtype = feature["dtype"]
    if value is None or isinstance(value, float) and math.isnan(value):
        return MISSING
    if isinstance(value, bool) or isinstance(value, str):
        return typed(feature, "truth" if isinstance(value, bool) else "text", value)
    if isinstance(value, float) and math.isinf(value) or dtype not in ("float32", "float64", "int64"):
        raise Refused
    return number(exact.of_number(value), dtype)


def filled(feature):
    """What a missing value becomes."""
    rule, dtype = feature["missing"], feature["dtype"]
    if rule == "error":
        raise Refused
    if rule == "nan":
        return np.float32("nan") if dtype == "float32" else np.float64("nan")
    if dtype in ("float32", "float64"):
        return exact.rounded(exact.of_number(float(rule)), dtype)
    return np.int64(rule) if dtype == "int64" else rule


def row(features, cells, take=typed):
    """The typed values of a row and the names of the features that it must be refused for."""
    out, bad = [], set()
    for feature, given in zip(features, cells):
        try:
            value = take(feature, *given)
            out.append(filled(feature) if value is MISSING else value)
        except Refused:
            bad.add(feature["name"])
            out.append(None)
    return out, bad
