#!/usr/bin/env python3
"""Draws a dashboard of docs/grafana from what a Prometheus holds, as an SVG.

usage: dashboard.py DASHBOARD.json http://PROMETHEUS MINUTES PICTURE.svg
"""

import json
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib import dates


def series(prometheus, expr, minutes):
    """Returns the series of an expression over the last minutes: labels and points."""
    end = time.time()
    for name, value in {"$__rate_interval": "1m", "$model": ".*", "$version": ".*", "$instance": ".*"}.items():
        expr = expr.replace(name, value)
    query = urllib.parse.urlencode({"query": expr, "start": end - 60 * minutes, "end": end, "step": max(1, minutes // 4)})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{query}") as answer:
        return json.load(answer)["data"]["result"]


def label(legend, labels):
    """Fills Grafana's legend format in."""
    for name, value in labels.items():
        legend = legend.replace("{{%s}}" % name, value)
    return legend


def main():
    file, prometheus, minutes, picture = sys.argv[1:]
    with open(file, encoding="utf-8") as f:
        dashboard = json.load(f)
    panels = [p for p in dashboard["panels"] if p["type"] == "timeseries"]
    rows = (len(panels) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(14, 3 * rows), squeeze=False)
    figure.suptitle(dashboard["title"])
    for panel, ax in zip(panels, axes.flat):
        ax.set_title(panel["title"], fontsize=9)
        for target in panel["targets"]:
            for one in series(prometheus, target["expr"], int(minutes)):
                times = [dates.epoch2num(t) if hasattr(dates, "epoch2num") else t / 86400 for t, _ in one["values"]]
                ax.plot(times, [float(v) for _, v in one["values"]], label=label(target["legendFormat"], one["metric"]), linewidth=1)
        ax.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        ax.tick_params(labelsize=7)
        ax.set_ylim(bottom=0)
        if ax.lines:
            ax.legend(fontsize=6, loc="upper left")
    for ax in list(axes.flat)[len(panels):]:
        ax.axis("off")
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main()
