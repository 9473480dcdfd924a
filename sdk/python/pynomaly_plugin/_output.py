"""What the plugin prints. Import this module before any other that might print.

Descriptor 1 belongs to the protocol. Importing this module in a plugin that the host
has started keeps a copy of it for the handshake. From then on whatever is printed to
standard output goes to standard error, which the host logs: by print(), and by C
libraries that know nothing of sys.stdout.
"""

import json
import os
import sys
import threading
import traceback

COOKIE = ("PYNOMALY_PLUGIN", "b0f6b1b7c5d34e0e9c1f7f3d5a2e8c4411d8a0e5f7c94b6fa1c3e2d4b5a69788")
_MAX_RECORD = 12000  # bytes
_MAX_FRAMES = 5  # of describe

_handshake = None


def started_by_host():
    """Return whether the host has started this process as a plugin."""
    return os.environ.get(COOKIE[0]) == COOKIE[1]


def _set_aside():
    global _handshake
    _handshake = os.dup(1)
    before, sys.stdout = sys.stdout, sys.stderr
    os.dup2(2, 1)
    if before is not None:
        before.flush()
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def write_handshake(line):
    """Write the only line that the host reads from standard output."""
    with os.fdopen(_handshake if _handshake is not None else os.dup(1), "w") as out:
        out.write(line + "\n")


def log_exception(error):
    """Write an exception with its traceback as one record of the host's log."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    sys.stderr.write(_record(text))
    sys.stderr.flush()


def describe(error):
    """Return an exception as one line that ends with where it was raised, innermost first."""
    own = os.path.dirname(os.path.abspath(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.dirname(os.path.abspath(f.filename)) != own]
    at = ", ".join(f"in {f.name} at {os.path.basename(f.filename)}:{f.lineno}" for f in frames[: -_MAX_FRAMES - 1 : -1])
    text = f"{type(error).__name__}: {error}"
    return f"{text} ({at})" if at else text


def _record(text):
    """Return a line that the host reads as one record. The middle of a long text is left out."""
    room = _MAX_RECORD
    while True:
        line = json.dumps({"@level": "error", "@message": text}, ensure_ascii=False) + "\n"
        if len(line.encode("utf-8", "replace")) <= _MAX_RECORD + 1000:
            return line
        room = min(room, len(text)) * 3 // 4
        text = text[: room // 3] + "\n  ...\n" + text[-room * 2 // 3 :]


def _uncaught(kind, error, trace):
    if issubclass(kind, Exception):
        log_exception(error.with_traceback(trace))
    else:
        sys.__excepthook__(kind, error, trace)


def _uncaught_in_thread(args):
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        log_exception(args.exc_value)


if started_by_host():
    _set_aside()
