"""Sends random rows for random models through every door of a built host, and compares the answers with
a reference that shares no code with the host.

usage: python tools/differential [--seed N] [--time 60s] [--round N] [--table FILE]

A door is a way to ask: REST, the WebSocket, or predict with a kind of file. The program runs rounds until
the time is over, but at least one. A round depends only on the seed and its number, so --round N repeats
it. The exit code is 1 if answers differ.
"""
import argparse
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

import report
import trial
from host import Place


def seconds(text):
    found = re.fullmatch(r"(\d+)(s|m|h)?", text)
    if not found:
        raise argparse.ArgumentTypeError("a time such as 60s, 10m or 1h")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[found[2]]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", default="1")
    options.add_argument("--time", type=seconds, default=60)
    options.add_argument("--round", type=int)
    options.add_argument("--table", type=pathlib.Path)
    options.add_argument("--keep", action="store_true", help="keep the models")
    given = options.parse_args()
    sys.set_int_max_str_digits(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # finally blocks run, which end the host
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    work = pathlib.Path(tempfile.mkdtemp(prefix="differential-"))
    work.chmod(0o755)
    tally, begin, number = trial.Tally(), time.monotonic(), given.round or 0
    try:
        place = Place(root, work)
        while True:
            trial.Round(place, given.seed, number, tally).run()
            number += 1
            if given.round is not None or time.monotonic() - begin >= given.time:
                break
    except Exception:
        print(f"in SEED={given.seed} ROUND={number}:", file=sys.stderr)
        raise
    finally:
        if given.keep:
            print("the models are in", work)
        else:
            shutil.rmtree(work, ignore_errors=True)
    report.show(tally, given.seed, number - (given.round or 0))
    if given.table:
        given.table.write_text(report.markdown(tally, given.seed, number - (given.round or 0)))
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
