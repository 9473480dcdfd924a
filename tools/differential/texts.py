"""Rows, and their text or file for each door."""
import csv
import io
import json
import math

import exact
import expect
import values


class Row:
    """A row: cells in the order of features, and more, which is an unknown feature, a feature given
    twice, or text that is not JSON."""

    def __init__(self, number, cells, unknown=None, twice=None, malformed=None):
        self.number, self.cells, self.unknown, self.twice, self.malformed = number, cells, unknown, twice, malformed

    def want(self, model, form):
        """Returns the typed values, and the features for which the row must be refused."""
        typed, bad = expect.row(model.features, self.cells)
        if form == "named":
            if self.unknown is not None and not model.ignores:
                bad.add(self.unknown)
            if self.twice is not None and self.cells[self.twice][0] != "absent":
                bad.add(model.features[self.twice]["name"])
        return typed, bad


class Seen:
    """A row as a CSV file holds it: cells of absent columns are missing, and every cell is a text."""

    def __init__(self, row, order):
        self.number, self.malformed = row.number, None
        self.cells = [cell if j in order else ("absent", None) for j, cell in enumerate(row.cells)]

    def want(self, model, _):
        return expect.row(model.features, [of_csv(f, cell) for f, cell in zip(model.features, self.cells)])


class Typed:
    """A row of a Parquet file."""

    def __init__(self, row, cells):
        self.number, self.cells, self.malformed = row.number, cells, None

    def want(self, model, _):
        return expect.row(model.features, [(c,) for c in self.cells], expect.of_table)


def random_row(rng, model, number, make):
    """Returns a row that is mostly valid, and sometimes has something that it must not have."""
    oddness = rng.choice([0, 0, 0.1, 0.3])
    cells = [make(rng, model, j) if rng.random() >= oddness else values.odd(rng, f["dtype"]) for j, f in enumerate(model.features)]
    how = rng.random()
    row = Row(number, cells)
    if how < 0.06:
        row.unknown = rng.choice(["other", "f", "größer", "F0", "id2"])
        row.unknown = None if any(f["name"] == row.unknown for f in model.features) else row.unknown
    elif how < 0.09:
        row.twice = rng.randrange(len(cells))
    elif how < 0.12:
        row.malformed = rng.choice(['{"%s": 01}', '{"%s": 1,}', '{"%s": .5}', '{"%s": 1', '{"%s" 1}', '{"%s": +1}', '{"%s": "\\ud800"}', '{"%s": 1e}', "{'%s': 1}", '{"%s": 0x1}']) % "f0"
    return row


def json_text(rng, text):
    """Returns a JSON string with needless escapes."""
    if rng.random() < 0.8:
        return json.dumps(text, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=True).replace("/", rng.choice(["/", "\\/"]))


def token(rng, kind, value):
    if kind == "text":
        return json_text(rng, value)
    return {"null": "null", "absent": "null", "truth": "true" if value else "false"}.get(kind, value)


def space(rng):
    return "" if rng.random() < 0.9 else rng.choice([" ", "  ", "\t"])


def json_row(rng, model, row, form):
    if row.malformed:
        return row.malformed
    if form == "array":
        return "[" + ",".join(space(rng) + token(rng, *cell) for cell in row.cells) + "]"
    members = [(f["name"], token(rng, *cell)) for f, cell in zip(model.features, row.cells) if cell[0] != "absent"]
    if row.unknown is not None:
        members.append((row.unknown, rng.choice(["1", '"x"', "null", '{"a": [1, {}]}'])))
    if row.twice is not None and row.cells[row.twice][0] != "absent":
        members.append((model.features[row.twice]["name"], token(rng, *row.cells[row.twice])))
    if not members:
        members.append((model.features[0]["name"], "null"))
    rng.shuffle(members)
    return "{" + ",".join(f"{space(rng)}{json_text(rng, name)}{space(rng)}:{space(rng)}{value}" for name, value in members) + "}"


def envelope(rng, members):
    """Writes the members of a request in random order."""
    members = list(members.items())
    rng.shuffle(members)
    return ("{" + ",".join(f'"{key}":{space(rng)}{value}' for key, value in members) + "}").encode()


def ndjson_file(rng, model, rows, form, whole=False):
    """Writes one row a line, or all as one array: bare, or under data beside other members. Blank lines are not rows."""
    is_feature = any(f["name"] == "data" for f in model.features)
    lines, sent = [], []
    for row in rows:
        line = json_row(rng, model, row, form)
        if rng.random() < 0.3 and not is_feature:
            members = [f'"data": {line}'] + ['"id": 7', '"note": "data"'][: rng.randint(0, 2)]
            rng.shuffle(members)
            line = "{" + ", ".join(members) + "}"
        sent.append(line)
        if whole:
            continue
        lines += [line] + [""] * (rng.random() < 0.1)
    if whole:
        return ("[" + rng.choice([",", ",\n", "\n , "]).join(sent) + rng.choice(["]", "\n]\n"])).encode(), sent
    return rng.choice(["\n", "\r\n"]).join(lines).encode() + rng.choice([b"", b"\n"]), sent


def of_csv(feature, cell):
    """Returns the JSON cell that equals the text of a CSV cell."""
    kind, value = cell
    if kind == "text":
        return ("null", None) if value == "" else cell
    if kind == "literal" and value == "NaN":
        return "null", None
    if kind in ("literal", "wrong"):
        return ("text", csv_text(None, feature, cell)) if feature["dtype"] == "string" else ("wrong", "x")
    return cell


def csv_text(rng, feature, cell):
    kind, value = cell
    if kind in ("null", "absent"):
        return rng.choice(["", "nan", "NULL", "NA", "NaN", " ", "N/A", "none", "<NA>", "\\N"]) if feature["dtype"] != "string" else ""
    if kind == "truth" and feature["dtype"] == "string":
        return json.dumps(value)
    if kind == "truth":
        return rng.choice(["true", "True", "TRUE", "1"] if value else ["false", "False", "0"])
    if kind == "number":
        text = by_hand(rng, value) if rng.random() < 0.2 else value
        text = text if text.startswith("-") or rng.random() < 0.9 else "+" + text
        return text if rng.random() < 0.9 else f" {text} "
    if kind == "literal":
        return value
    # JSON of another type is a text here, which is wrong unless its feature is a text.
    return value if kind == "text" or feature["dtype"] == "string" else "x" + value


def by_hand(rng, number):
    """Writes a number as people do."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    if digits.startswith("0.") and rng.random() < 0.5:
        return sign + digits[1:]
    if digits.isdigit() and rng.random() < 0.5:
        return sign + digits + "."
    return sign + "00" + digits


def csv_file(rng, model, rows):
    """Writes the features' columns in random order, with one that may be missing left out or others added."""
    order = list(range(len(model.features)))
    rng.shuffle(order)
    if rng.random() < 0.1 and len(order) > 1 and model.features[order[-1]]["missing"] != "error":
        order.pop()
    extra = rng.random() < 0.3
    out = io.StringIO(newline="")
    comma = rng.choice([",", ",", ";", "\t", "|"]) if len(order) + extra > 1 else ","
    writer = csv.writer(out, delimiter=comma, lineterminator=rng.choice(["\n", "\r\n"]), quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer.writerow([model.features[j]["name"] for j in order] + ["extra column"] * extra)
    sent = []
    for row in rows:
        line = [csv_text(rng, model.features[j], row.cells[j]) for j in order] + [rng.choice(["", "x,y", "1"])] * extra
        writer.writerow(line)
        sent.append(repr(line))
    mark = "\ufeff" if rng.random() < 0.2 else ""
    return (mark + out.getvalue()).encode(), sent, set(order), comma


def parquet_file(rng, model, rows):
    """Writes a column for each feature, of a type that holds most of its values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, types = [], []
    for j, feature in enumerate(model.features):
        dtype = feature["dtype"]
        kind = rng.choice({"float32": ["float32", "float64", "int64"], "float64": ["float64", "float32", "int32", "uint64"], "int64": ["int64", "int32", "uint64", "float64"],
                           "bool": ["bool_"], "string": ["string", "large_string", "dictionary"]}[dtype])
        columns.append([held(kind, row.cells[j]) for row in rows])
        types.append(pa.dictionary(pa.int32(), pa.string()) if kind == "dictionary" else getattr(pa, kind)())
    table = pa.table([pa.array(c, t, from_pandas=False) for c, t in zip(columns, types)], names=[f["name"] for f in model.features])
    order = rng.sample(range(len(types)), len(types))
    # Hosts refuse booleans in pages of version 2.
    version = "1.0" if any(f["dtype"] == "bool" for f in model.features) else rng.choice(["1.0", "2.0"])
    out = io.BytesIO()
    pq.write_table(table.select(order), out, compression=rng.choice(["none", "snappy", "gzip", "brotli", "zstd"]), use_dictionary=rng.random() < 0.5,
                   data_page_version=version, data_page_size=rng.choice([64, 1 << 20]), write_batch_size=rng.choice([4, 1024]), row_group_size=rng.choice([7, 1 << 20]))
    return out.getvalue(), [Typed(row, [c[i] for c in columns]) for i, row in enumerate(rows)]


def held(kind, cell):
    """Returns the value of a cell in a column, or None if the column cannot hold it."""
    what, value = cell
    if kind in ("string", "large_string", "dictionary"):
        return value if what == "text" else None
    if kind == "bool_":
        return value if what == "truth" else None
    if what == "literal" and kind.startswith("float"):
        return float(value.replace("Infinity", "inf"))
    if what != "number":
        return None
    number = exact.of_text(value)
    if kind.startswith("float"):
        near = exact.rounded(number, kind)
        return None if near is None else float(near)
    negative, top, bottom = number
    if top % bottom:
        return None
    whole = (-1 if negative else 1) * (top // bottom)
    low, high = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}[kind]
    return whole if low <= whole <= high else None
