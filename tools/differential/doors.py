"""The doors: each sends rows to a host and reads the answers.

A door yields (row, got, sent). got is a dictionary with score, prediction, is_anomaly and confidence, or
with error (RowError, ValidationError, ...), field and text.
"""
import csv
import io
import json
import subprocess

import host as hosts
import texts

csv.field_size_limit(1 << 30)
ADDED = ("prediction", "score", "is_anomaly", "confidence", "error")


def answered(p):
    if not isinstance(p, dict):
        return {"error": "no JSON", "field": "", "text": str(p)[:300]}
    problem = p.get("error", p)
    if "error_type" in problem:
        return {"error": problem["error_type"], "field": problem.get("field", ""), "text": problem.get("detail", "")}
    return {key: p.get(key) for key in ADDED[:4]} | {"id": p.get("id")}


def single(model, rows, rng, host, form):
    for row in rows:
        data = texts.json_row(rng, model, row, form)
        _, answer = host.ask("POST", "/api/v1/predict", texts.envelope(rng, {"model_id": json.dumps(model.id), "data": data}))
        yield row, answered(answer), data


def batch(model, rows, rng, host, form):
    rows = [r for r in rows if not r.malformed]
    data = [texts.json_row(rng, model, row, form) for row in rows]
    body = {"model_id": json.dumps(model.id), "data": "[" + ",".join(data) + "]", "batch_size": str(rng.choice([1, 3, 7, 1000]))}
    _, answer = host.ask("POST", "/api/v1/predict/batch", texts.envelope(rng, body))
    found = answer.get("predictions") if isinstance(answer, dict) else None
    if found is None or len(found) != len(rows):
        found = [answer] * len(rows)
    yield from zip(rows, map(answered, found), data)


def stream(model, rows, rng, host, form):
    socket = host.stream()
    try:
        for i, row in enumerate(rows):
            data = texts.json_row(rng, model, row, form)
            answer = socket.ask(texts.envelope(rng, {"model_id": json.dumps(model.id), "data": data, "id": str(i)}))
            got = answered(answer)
            if answer.get("id") != i and not row.malformed:
                got = {"error": "another message's answer", "field": "", "text": str(answer)[:300]}
            yield row, got, data
    finally:
        socket.close()


def run(place, model, name, data, *more):
    """Runs `predict` on a file. Returns the output and "", or None and the reason."""
    source, target = place.work / f"in.{name}", place.work / f"out.{name}"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    done = subprocess.run(place.command("predict", model.id, str(source), "-o", str(target), "--quiet", *more), capture_output=True, timeout=hosts.HANGS)
    if done.returncode not in (0, 2):
        return None, done.stderr.decode(errors="replace")[:600]
    return target.read_bytes(), ""


def lost(rows, why, sent):
    return [(row, {"error": "no output", "field": "", "text": why}, s) for row, s in zip(rows, sent)]


def optional(text):
    return None if text == "" else float(text)


def from_csv(model, rows, rng, place):
    rows = [r for r in rows if not r.malformed]
    data, sent, order, comma = texts.csv_file(rng, model, rows)
    out, why = run(place, model, "csv", data, *(["--extra"] if not model.ignores else []), "--batch-size", str(rng.choice([1, 5, 1000])))
    if out is None:
        return lost(rows, why, sent)
    found = list(csv.reader(io.StringIO(out.decode(), newline=""), delimiter=comma))[1:]
    if len(found) != len(rows):
        return lost(rows, f"{len(found)} rows for {len(rows)}", sent)
    answers = []
    for line in found:
        p, score, flag, confidence, error = line[-5:]
        answers.append({"error": "RowError", "field": None, "text": error} if error else
                       {"prediction": float(p), "score": float(score), "is_anomaly": {"": None, "true": True, "false": False}[flag], "confidence": optional(confidence)})
    return [(texts.Seen(row, order), got, s) for row, got, s in zip(rows, answers, sent)]


def from_ndjson(model, rows, rng, place, form):
    data, sent = texts.ndjson_file(rng, model, rows, form)
    out, why = run(place, model, rng.choice(["ndjson", "jsonl"]), data, "--batch-size", str(rng.choice([1, 5, 1000])))
    if out is None:
        return lost(rows, why, sent)
    found = [hosts.read_json(line) for line in out.split(b"\n") if line.strip()]
    if len(found) != len(rows):
        return lost(rows, f"{len(found)} rows for {len(rows)}", sent)
    return [(row, {"error": "RowError", "field": None, "text": a["error"]} if "error" in a else answered(a), s) for row, a, s in zip(rows, found, sent)]


def from_array(model, rows, rng, place):
    rows = [r for r in rows if not r.malformed]
    data, sent = texts.ndjson_file(rng, model, rows, "named", whole=True)
    out, why = run(place, model, "json", data, "--batch-size", str(rng.choice([1, 5, 1000])))
    if out is None:
        return lost(rows, why, sent)
    found = hosts.read_json(out)
    if not isinstance(found, list) or len(found) != len(rows):
        return lost(rows, f"{str(found)[:300]} for {len(rows)} rows", sent)
    return [(row, {"error": "RowError", "field": None, "text": a["error"]} if "error" in a else answered(a), s) for row, a, s in zip(rows, found, sent)]


def from_parquet(model, rows, rng, place):
    import pyarrow.parquet as pq

    rows = [r for r in rows if not r.malformed]
    data, seen = texts.parquet_file(rng, model, rows)
    sent = [repr(s.cells) for s in seen]
    out, why = run(place, model, "parquet", data, *(["--extra"] if not model.ignores else []), "--batch-size", str(rng.choice([1, 5, 1000])))
    if out is None:
        return lost(seen, why, sent)
    table = pq.read_table(io.BytesIO(out))
    if table.num_rows != len(rows):
        return lost(seen, f"{table.num_rows} rows for {len(rows)}", sent)
    columns = [table[name].to_pylist() for name in ADDED]
    answers = [{"error": "RowError", "field": None, "text": a[4]} if a[4] is not None else dict(zip(ADDED[:4], a)) for a in zip(*columns)]
    return list(zip(seen, answers, sent))


def all_doors(host, place):
    """Returns the doors by name."""
    return {
        "REST, named": lambda m, rows, rng: single(m, rows, rng, host, "named"),
        "REST, array": lambda m, rows, rng: single(m, rows, rng, host, "array"),
        "REST batch, named": lambda m, rows, rng: batch(m, rows, rng, host, "named"),
        "REST batch, array": lambda m, rows, rng: batch(m, rows, rng, host, "array"),
        "WebSocket": lambda m, rows, rng: stream(m, rows, rng, host, "named"),
        "predict, CSV": lambda m, rows, rng: from_csv(m, rows, rng, place),
        "predict, NDJSON": lambda m, rows, rng: from_ndjson(m, rows, rng, place, "named"),
        "predict, NDJSON of arrays": lambda m, rows, rng: from_ndjson(m, rows, rng, place, "array"),
        "predict, JSON whole": lambda m, rows, rng: from_array(m, rows, rng, place),
        "predict, Parquet": lambda m, rows, rng: from_parquet(m, rows, rng, place),
    }
