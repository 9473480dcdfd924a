"""Writes Parquet files of every codec, encoding, page version, type and size, and the values in them.

usage: parquet.py FILE.zip    (needs scripts/requirements-differential.txt)

Each matrix/<codec>-v<page version>-<encoding>-<rows>.parquet holds the first rows of the columns in
values.json. Each types/<name>.parquet holds one column, x, of another type. In values.json, a column
has a value for each row, or null: float bits in hex, integers as text. For each types/<name>.parquet,
types says what x is as a feature of each dtype: such a list, in which an error is {"error": true}, or
a text if the file is refused. The script converts numbers with fractions only.
"""
import datetime
import decimal
import fractions
import io
import json
import math
import random
import struct
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 200
FLOATS = [0.0, -0.0, 1.5, -1.5, 0.1, 1e-3, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, -1.7976931348623157e308, 2.0**53 + 2, math.nan]
SINGLES = [0.0, -0.0, 1.5, 0.1, 1e-45, -1e-45, 1.1754944e-38, 1.1754942e-38, 3.4028235e38, -3.4028235e38, 16777216.0, math.nan]
TEXTS = ["", "a", "b", "ab", "abc", "Zürich", "東京", "🙂", "a,b", '"quoted"', "two\nlines", "null", "nan", "x" * 60, "x" * 59 + "y", " space "]
ENCODINGS = {
    "plain": {"use_dictionary": False, "column_encoding": {}},
    "dictionary": {"use_dictionary": True},
    "fallback": {"use_dictionary": True, "dictionary_pagesize_limit": 512},
    "delta": {"use_dictionary": False, "int": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY"},
    "lengths": {"use_dictionary": False, "int": "DELTA_BINARY_PACKED", "text": "DELTA_LENGTH_BYTE_ARRAY"},
    "split": {"use_dictionary": False, "int": "BYTE_STREAM_SPLIT", "float": "BYTE_STREAM_SPLIT"},
}
CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]


def columns():
    """Returns values of which every third is one of the type's extremes; the others are random or repeat."""
    rng = random.Random(1)

    def mixed(extremes, other):
        return [extremes[i // 3 % len(extremes)] if i % 3 == 0 else other(i) for i in range(ROWS)]

    out = {}
    for bits in (8, 16, 32, 64):
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        out[f"int{bits}"] = pa.array(mixed([low, high, 0, -1, 1], lambda i, low=low, high=high: i % 7 if i % 3 == 1 else rng.randint(low, high)), getattr(pa, f"int{bits}")())
        high = min(2**bits - 1, 2**63 - 1)  # types has the numbers that no int64 holds
        out[f"uint{bits}"] = pa.array(mixed([0, high, high // 2 + 1, 1], lambda i, high=high: i // 50 if i % 3 == 1 else rng.randint(0, high)), getattr(pa, f"uint{bits}")())
    out["float32"] = pa.array(np.array(mixed(SINGLES, lambda i: i / 4 if i % 3 == 1 else rng.gauss(0, 1)), np.float32), pa.float32(), from_pandas=False)
    out["float64"] = pa.array(mixed(FLOATS, lambda i: 0.1 if i % 3 == 1 else rng.gauss(0, 1)), pa.float64(), from_pandas=False)
    out["bool"] = pa.array([rng.random() < 0.5 if i % 90 > 40 else i % 90 > 20 for i in range(ROWS)])
    out["string"] = pa.array(mixed(TEXTS, lambda i: f"key-{i // 10}" if i % 3 == 1 else "".join(rng.choices("abcé", k=rng.randint(0, 6)))))
    out["category"] = pa.array([TEXTS[1 + i % 5] for i in range(ROWS)]).dictionary_encode()
    return out


def with_nulls(column, at):
    values = column.to_pylist()
    # There are runs of nulls, and single ones. A NaN stays a NaN.
    gaps = [i % 11 == at % 11 or 100 <= i < 110 + at for i in range(ROWS)]
    return pa.array([None if gap else v for v, gap in zip(values, gaps)], column.type, from_pandas=False)


def written(v, kind):
    if v is None:
        return None
    if pa.types.is_float32(kind):
        return struct.pack(">f", v).hex()
    if pa.types.is_float64(kind):
        return struct.pack(">d", v).hex()
    return v if isinstance(v, bool) else str(v)


def encode(table, options, codec, pages, **more):
    kinds = dict(zip(table.schema.names, table.schema.types))
    settings = {k: v for k, v in options.items() if k in ("use_dictionary", "dictionary_pagesize_limit")}
    per = {}
    if "runs" not in options:  # without this pyarrow writes booleans in runs in pages of version 2
        if settings.get("use_dictionary", True):
            settings["use_dictionary"] = [name for name, kind in kinds.items() if not pa.types.is_boolean(kind)]
        per = {name: "PLAIN" for name, kind in kinds.items() if pa.types.is_boolean(kind)}
    for name, kind in kinds.items():
        kind_of = "int" if pa.types.is_integer(kind) else "float" if pa.types.is_floating(kind) else "text" if pa.types.is_string(kind) else "bool" if pa.types.is_boolean(kind) else None
        if kind_of in options:
            per[name] = options[kind_of]
    if per:
        settings["column_encoding"] = per
    out = io.BytesIO()
    pq.write_table(table, out, compression=codec, data_page_version=f"{pages}.0", data_page_size=200, write_batch_size=16,
                   write_statistics=False, store_schema=False, **settings, **more)
    return out.getvalue()


def rounded(value, dtype):
    """Returns value as a feature of dtype, rounded once from the exact number."""
    if isinstance(value, bool):
        if dtype in ("bool", "string"):
            return value if dtype == "bool" else {"error": True}
        value = int(value)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return {"error": True}
    if isinstance(value, str):
        return value if dtype == "string" else {"error": True}
    if math.isnan(value):
        return None  # a missing value
    if dtype in ("bool", "string") or math.isinf(value):
        return {"error": True}
    exact = fractions.Fraction(value)
    if dtype == "int64":
        return str(int(exact)) if exact.denominator == 1 and -(2**63) <= exact < 2**63 else {"error": True}
    digits, least, most = (24, -149, 128) if dtype == "float32" else (53, -1074, 1024)
    if exact == 0:
        return written(math.copysign(0.0, value), pa.float32() if dtype == "float32" else pa.float64())
    exponent = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator))
    while fractions.Fraction(2) ** exponent > abs(exact):
        exponent -= 1
    while fractions.Fraction(2) ** (exponent + 1) <= abs(exact):
        exponent += 1
    unit = fractions.Fraction(2) ** max(exponent - digits + 1, least)
    near = round(exact / unit) * unit  # half to even
    if abs(near) >= fractions.Fraction(2) ** most:
        return {"error": True}
    return written(math.copysign(float(near), value), pa.float32() if dtype == "float32" else pa.float64())


def types():
    """Returns columns of other types, and of values that some dtypes cannot hold."""
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    read = {
        "int64": pa.array([-(2**63), 2**63 - 1, 2**53 + 1, 2**24 + 1, -(2**24 + 3), 2**60 + 2**36 + 1, 0, None]),
        "uint64": pa.array([2**64 - 1, 2**63, 2**63 - 1, 2**53 + 1, 2**63 + 2**39, 2**63 + 2**39 + 1, 2**63 + 2**10, 2**63 + 2**10 + 1, 0, None], pa.uint64()),
        "uint32": pa.array([2**32 - 1, 2**31, 2**24 + 1, 0, None], pa.uint32()),
        "float64": pa.array([-(2.0**63), 2.0**63, 2.0**63 - 1024, 1.5, -0.0, 1e300, 3.4028235677973366e38, 3.4028235677973362e38, 7.006492321624085e-46, 1e-46, 1.0000000596046448, 1.0000000596046446, math.inf, -math.inf, math.nan, None], from_pandas=False),
        "float32": pa.array(np.array([0.1, 1e-45, 16777216.0, -0.0, math.inf, math.nan], np.float32), from_pandas=False),
        "bool": pa.array([True, False, None]),
        "large_string": pa.array(TEXTS + [None], pa.large_string()),
        "string_view": pa.array(TEXTS + [None], pa.string_view()),
        "category_int": pa.array([3, 1, 3, None, 2]).dictionary_encode(),
        "category_float": pa.array([0.1, 0.1, 2.5, None]).dictionary_encode(),
        "binary": pa.array([b"ab", "é".encode(), b"\xff\xfe", "é".encode()[:1], None], pa.binary()),  # as old writers write texts
        "all_null": pa.array([None, None, None], pa.float64()),
        "no_rows": pa.array([], pa.float64()),
    }
    refused = {
        "float16": pa.array(np.array([1.5, 2.5], np.float16)),
        "decimal32": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(5, 2)),
        "decimal64": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(15, 2)),
        "decimal128": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(30, 2)),
        "decimal256": pa.array([decimal.Decimal("1.50"), None], pa.decimal256(60, 2)),
        "date32": pa.array([when.date(), None]),
        "timestamp_ms": pa.array([when, None], pa.timestamp("ms")),
        "timestamp_us_utc": pa.array([when, None], pa.timestamp("us", tz="UTC")),
        "timestamp_ns": pa.array([when, None], pa.timestamp("ns")),
        "time32": pa.array([when.time(), None], pa.time32("ms")),
        "time64": pa.array([when.time(), None], pa.time64("us")),
        "list": pa.array([[1.0, 2.0], None]),
        "fixed_list": pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
        "struct": pa.array([{"a": 1.0}, None]),
        "map": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())),
        "fixed_binary": pa.array([b"ab", None], pa.binary(2)),
        "uuid": pa.array([b"0123456789abcdef"], pa.uuid()),
    }
    return read, refused


def main():
    all_columns = columns()
    both = {}
    for i, (name, column) in enumerate(all_columns.items()):
        both[name], both[name + "_null"] = column, with_nulls(column, i)
    schema = pa.schema([pa.field(name, column.type, nullable=name.endswith("_null")) for name, column in both.items()])
    table = pa.table(list(both.values()), schema=schema)
    values = {name: [written(v, column.type) for v in column.to_pylist()] for name, column in both.items()}
    with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:

        def put(name, data):
            out.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED, 9)

        for encoding, options in ENCODINGS.items():
            for pages in (1, 2):
                for codec in CODECS:
                    # A codec works on single pages; their number and contents do not matter.
                    if codec != "none" and encoding in ("fallback", "lengths", "split") or codec == "lz4" and encoding != "plain":
                        continue
                    sizes = ([0, 1, 16, 17, 128, 129, ROWS] if encoding in ("plain", "delta") else [17, ROWS]) if codec == "none" else [100]
                    for rows in sizes:
                        put(f"matrix/{codec}-v{pages}-{encoding}-{rows}.parquet", encode(table.slice(0, rows), options, codec, pages))
        put(f"matrix/zstd-v2-groups-{ROWS}.parquet", encode(table, {}, "zstd", 2, row_group_size=37))
        put(f"matrix/zstd-v1-checked-{ROWS}.parquet", encode(table, {}, "zstd", 1, write_page_checksum=True, write_page_index=True))
        put(f"matrix/snappy-v1-old-{ROWS}.parquet", encode(table.drop(["uint32", "uint32_null"]), {}, "snappy", 1, version="1.0"))
        runs = table.select(["bool", "bool_null"])
        put(f"matrix/none-v2-runs-{ROWS}.parquet", encode(runs, {"runs": True}, "none", 2))
        put(f"matrix/zstd-v1-runs-{ROWS}.parquet", encode(runs, {"runs": True, "use_dictionary": False, "bool": "RLE"}, "zstd", 1))
        read, refused = types()
        known = {}
        for name, column in read.items():
            put(f"types/{name}.parquet", encode(pa.table({"x": column}), {}, "none", 1))
            known[name] = {dtype: [None if v is None else rounded(v, dtype) for v in column.to_pylist()] for dtype in ("float32", "float64", "int64", "bool", "string")}
        for name, column in refused.items():
            put(f"types/{name}.parquet", encode(pa.table({"x": column}), {}, "none", 1))
        out96 = io.BytesIO()
        pq.write_table(pa.table({"x": refused["timestamp_ns"]}), out96, use_deprecated_int96_timestamps=True)
        put("types/timestamp_int96.parquet", out96.getvalue())
        put("values.json", json.dumps({"columns": values, "types": known, "refused": [*refused, "timestamp_int96"]}, ensure_ascii=True))


main()
