"""Each bench is also a program: the same options for all, and its own as keywords of its function."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from bench.measure import Finding, Options


def main(bench: Callable[..., Finding], doc: str | None, **own: Any) -> NoReturn:
    """Parses the command line, runs, prints."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", action="store_true")
    for name, default in own.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    given = parser.parse_args()
    options = Options(
        runs=given.runs, rate=given.rate, seconds=given.seconds, orders=given.orders, tiny=given.tiny,
        folder=given.folder,
    )  # fmt: skip
    finding = bench(options, **{name: getattr(given, name) for name in own})
    if given.json:
        print(json.dumps(finding.document()))
    else:
        show(finding)
    raise SystemExit(0)


def show(finding: Finding) -> None:
    """Plain text."""
    print(finding.title, "|", ", ".join(f"{key} {value}" for key, value in finding.config.items()))
    for metric in finding.metrics.values():
        noise = f"({min(metric.values):,.1f} … {max(metric.values):,.1f})" if len(metric.values) > 1 else ""
        print(f"  {metric.name:28}{metric.middle:>16,.1f} {metric.unit:10} {noise}")
    for name, found in finding.latencies.items():
        us = found.document()["us"]
        print(f"  {name:28}" + "".join(f"{p} {value:,.1f}  " for p, value in us.items()) + "µs")
    for note in finding.notes:
        print(f"  {note}")
