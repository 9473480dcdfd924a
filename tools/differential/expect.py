"""What a model must read from a row: typed values, or the features for which it must refuse the row."""
import math

import numpy as np

import exact

MISSING = "missing"


class Refused(Exception):
    """Raised for a value that its feature does not accept."""


def typed(feature, kind, value):
    """Returns the typed value of a JSON cell, or MISSING if the manifest decides."""
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
    if kind == "truth" and dtype != "string":
        return number(exact.of_text("1" if value else "0"), dtype)
    raise Refused


def number(exactly, dtype):
    out = exact.rounded(exactly, dtype)
    if out is None:
        raise Refused
    return out


def of_table(feature, value):
    """Returns the typed value of a cell in a typed table; None is an absent one."""
    dtype = feature["dtype"]
    if value is None or isinstance(value, float) and math.isnan(value):
        return MISSING
    if isinstance(value, bool) or isinstance(value, str):
        return typed(feature, "truth" if isinstance(value, bool) else "text", value)
    if isinstance(value, float) and math.isinf(value) or dtype not in ("float32", "float64", "int64"):
        raise Refused
    return number(exact.of_number(value), dtype)


def filled(feature):
    """Returns what replaces a missing value."""
    rule, dtype = feature["missing"], feature["dtype"]
    if rule == "error":
        raise Refused
    if rule == "nan":
        return np.float32("nan") if dtype == "float32" else np.float64("nan")
    if dtype in ("float32", "float64"):
        return exact.rounded(exact.of_number(float(rule)), dtype)
    return np.int64(rule) if dtype == "int64" else rule


def row(features, cells, take=typed):
    """Returns a row's typed values, and the names of the features for which it must be refused."""
    out, bad = [], set()
    for feature, given in zip(features, cells):
        try:
            value = take(feature, *given)
            out.append(filled(feature) if value is MISSING else value)
        except Refused:
            bad.add(feature["name"])
            out.append(None)
    return out, bad
