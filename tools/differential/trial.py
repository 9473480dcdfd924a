"""One round: makes models, starts a host, sends rows through every door, and compares the answers."""
import collections
import math
import random
import re
import shutil

import doors
import exact
import host as hosts
import models
import reckon
import texts
import values

ROWS = 36

# The doors that take one row and refuse what looks like several.
ALONE = ("REST, array",)
ROWS_IN_A_ROW = re.compile(r"\s*\[\s*[\[{]")

BITS = "score: the reference's"
NEAR = "score: the reference's, by a tolerance"
ALIKE = "answer: the same row at every door"
FLAG = "is_anomaly"
PREDICTION = "prediction"
CONFIDENCE = "confidence"
ERROR = "error: its kind and feature"
SERVED = "model: served, or refused as imprecise"
ROUNDING = "the reference's rounding: Python's own"


class Tally:
    """Counts the comparisons, and keeps the differences."""

    def __init__(self):
        self.compared, self.differed = collections.Counter(), collections.Counter()
        self.models, self.rows, self.unsteady, self.refused, self.differences = collections.Counter(), 0, 0, 0, []

    def check(self, what, door, same, tell):
        self.compared[what, door] += 1
        if not same:
            self.differed[what, door] += 1
            self.differences.append((what, door, tell()))


class Round:
    def __init__(self, place, seed, number, tally):
        self.place, self.tally, self.name = place, tally, f"SEED={seed} ROUND={number}"
        self.rng = random.Random(f"{seed}/{number}")

    def run(self):
        for folder in (self.place.models, self.place.state):
            shutil.rmtree(folder, ignore_errors=True)
        self.place.models.mkdir(parents=True)
        self.rounding()
        made = [models.make(self.rng, kind, f"m{i}", self.place) for i, kind in enumerate(models.KINDS)]
        for model in made:
            models.write(model, self.place.models)
        with hosts.Host(self.place, len(made)) as host:
            ways = doors.all_doors(host, self.place)
            for model in made:
                self.tally.models[model.kind] += 1
                self.one(model, host, ways)

    def rounding(self):
        """Compares the reference's rounding with Python's, which shares no code with it."""
        for _ in range(200):
            text = values.number(self.rng, "float64")
            got, want = exact.rounded(exact.of_text(text), "float64"), float(text)
            same = got is None if math.isinf(want) else got is not None and exact.bits(got) == exact.bits(want)
            self.tally.check(ROUNDING, "none", same, lambda text=text, got=got: f"{self.name}: {text[:100]} is {got} for the reference")

    def one(self, model, host, ways):
        rng = random.Random(self.rng.random())
        _, listed = host.ask("GET", f"/api/v1/models/{model.id}")
        version = listed["versions"][0]
        # A host may refuse a graph as imprecise if the order of its sums changes scores too much.
        self.tally.check(SERVED, "none", version["status"] == "loaded" or "imprecise" in version.get("error", ""), lambda: f"{self.name} model {model.name}: {version}")
        if version["status"] != "loaded":
            self.tally.refused += 1
            return
        # It also refuses a graph if a row's score depends on other rows.
        model.steady = not version.get("score_difference")
        self.tally.unsteady += not model.steady
        rows = [texts.random_row(rng, model, i, models.usual) for i in range(ROWS)]
        self.tally.rows += len(rows)
        known, first = {}, {}
        for door, way in ways.items():
            form = "array" if "array" in door else "named"
            for row, got, sent in way(model, rows, random.Random(rng.random())):
                self.compare(model, door, row, row.want(model, form), got, sent, known, first)

    def compare(self, model, door, row, want, got, sent, known, first):
        def tell(expected):
            return lambda: f"{self.name} model {model.name}, row {row.number}\n    sent {sent[:400]}\n    got  {got}\n    want {expected}"

        typed, bad = want
        if row.malformed or bad:
            kind = "ValidationError" if row.malformed and ("REST" in door or door == "WebSocket") else "RowError"
            fields = [] if row.malformed else sorted(bad)
            if door in ALONE and ROWS_IN_A_ROW.match(sent):  # the host takes it for several rows
                kind, fields = "ValidationError", []
            self.tally.check(ERROR, door, got.get("error") == kind and (not fields or named(got, fields)), tell(f"{kind} {fields}"))
            return
        key = tuple(v if isinstance(v, (str, bool)) else exact.bits(float(v)) if not hasattr(v, "dtype") or v.dtype.kind == "f" else int(v) for v in typed)
        if key not in known:
            known[key] = model.judge.oriented(model.raw(typed))
        score = known[key]
        if not math.isfinite(score):
            self.tally.check(ERROR, door, got.get("error") == "RowError" and "finite" in got["text"], tell(f"a score that is not finite: {score}"))
            return
        if "error" in got:
            self.tally.check(ERROR, door, False, tell(f"score {score}"))
            return
        self.answer(model, door, got, score, tell)
        if model.steady:
            answer = tuple(v if v is None or isinstance(v, bool) else exact.bits(v) for v in (got["score"], got["prediction"], got["is_anomaly"], got["confidence"]))
            there, theirs = first.setdefault(key, (door, answer))
            if there != door:
                self.tally.check(ALIKE, door, answer == theirs, tell(f"{theirs} as {there} answered"))

    def answer(self, model, door, got, score, tell):
        judge, check = model.judge, self.tally.check
        if model.exact:
            check(BITS, door, exact.bits(got["score"]) == exact.bits(score), tell(f"score {score}"))
        else:
            check(NEAR, door, close(got["score"], score, model.tolerance or 1e-5), tell(f"score {score}"))
        # The host's score determines the rest of the answer.
        score = got["score"]
        check(FLAG, door, got["is_anomaly"] is judge.anomaly(score), tell(f"is_anomaly {judge.anomaly(score)}"))
        prediction, confidence = judge.prediction(score), judge.confident(score)
        method = (judge.calibration or {}).get("method", "none")
        same = got["prediction"] == prediction if method in ("none", "ecdf", "ecdf_midrank") else close(got["prediction"], prediction, judge.apart())
        check(f"{PREDICTION}: {method}", door, same, tell(f"prediction {prediction}"))
        same = got["confidence"] is None if confidence is None else got["confidence"] is not None and close(got["confidence"], confidence, reckon.RELATIVE)
        check(CONFIDENCE, door, same, tell(f"confidence {confidence}"))


def named(got, fields):
    """Reports whether an error is about one of the fields. Errors of tables name the field in the text."""
    if got["field"] is not None:
        return got["field"] in fields
    return any(texts.json.dumps(f, ensure_ascii=False) in got["text"] for f in fields)


def close(a, b, tolerance):
    return a == b or abs(a - b) <= tolerance * max(1, abs(b))
