"""Tests of what becomes one record of the host's log."""

import json

from pynomaly_plugin import _output


def raised(depth=0, text="the matrix is singular"):
    if depth > 0:
        raised(depth - 1, text)
    raise ValueError(text)


def caught(*args):
    try:
        raised(*args)
    except ValueError as e:
        return e


def test_describe():
    text = _output.describe(caught())
    assert text.startswith("ValueError: the matrix is singular (in raised at test_output.py:") and text.count(" at ") == 2
    assert _output.describe(caught(20)).count(" at ") == 5
    assert _output.describe(ValueError("x")) == "ValueError: x"


def test_record_is_one_line():
    for text in ["x", "a\nb", "ä\U0001f600" * 9000, '"' * 12000, "\n" * 11000, "x" * 1000000]:
        line = _output._record(text)
        assert line.count("\n") == 1 and len(line.encode()) <= 13001
        assert json.loads(line)["@message"][0] == text[0]


def test_log_exception(capsys):
    try:
        try:
            raised()
        except ValueError as e:
            raise KeyError("x") from e
    except KeyError as e:
        _output.log_exception(e)
    out = capsys.readouterr().err
    entry = json.loads(out)
    assert entry["@level"] == "error" and out.count("\n") == 1
    assert "the direct cause" in entry["@message"] and entry["@message"].endswith("KeyError: 'x'")
