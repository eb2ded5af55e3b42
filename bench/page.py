"""A run as one page of HTML that needs nothing from elsewhere: style and plots are inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.report import facts
from bench.svg import Bar, Curve, bars, curves, number

Benches = dict[str, dict[str, Any]]
"""By the names of the suite, as in the document."""


def html(found: dict[str, Any]) -> str:
    """The page of a document of `bench.report`."""
    benches: Benches = {each["name"]: each for each in found["benches"]}
    sections = [_head(found), _goals(found["goals"]), *(draw(benches) for draw in _DRAWINGS)]
    if found.get("compared") or found.get("not_comparable"):
        sections.append(_compared(found["compared"], found["not_comparable"]))
    sections += map(_figures, benches.values())
    style = Path(__file__).with_name("page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>oms bench {escape(found['when'])}</title>\n<style>\n{style}</style>\n"
        f"<main>{''.join(sections)}</main></html>\n"
    )


# -- words and tables -------------------------------------------------------------------------------------------------


def _head(found: dict[str, Any]) -> str:
    return f"<h1>oms bench</h1><p class=soft>{escape(facts(found))}</p>"


def _section(title: str, words: str, inside: str) -> str:
    if not inside:
        return ""
    return f"<section><h2>{escape(title)}</h2><p class=soft>{escape(words)}</p>{inside}</section>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; a column whose title ends in # holds numbers."""
    marks = [" class=n" if column.endswith("#") else "" for column in columns]
    head = "".join(f"<th{mark}>{column.rstrip('#')}" for mark, column in zip(marks, columns, strict=True))
    lines = ("".join(f"<td{mark}>{cell}" for mark, cell in zip(marks, row, strict=True)) for row in rows)
    return f"<table><tr>{head}{''.join(f'<tr>{line}' for line in lines)}</table>"


def _chip(word: str) -> str:
    return f"<span class='chip {word.split()[0]}'>{word}</span>"


def _goals(rows: list[dict[str, Any]]) -> str:
    def cell(row: dict[str, Any], key: str) -> str:
        return "" if row[key] is None else number(row[key])

    return _section("Goals", "Judged by the median of the runs.", _table(
        ("what", "measured#", "floor#", "aim#", "unit", ""),
        ((escape(row["what"]), f"<b>{cell(row, 'measured')}</b>", cell(row, "floor"), cell(row, "aim"),
          escape(row["unit"]), _chip(row["verdict"])) for row in rows),
    ))  # fmt: skip


def _compared(rows: list[dict[str, Any]], others: dict[str, str]) -> str:
    words = "Better or worse only where the ranges of the runs do not overlap; unsure after a single run."
    words += "".join(f" Not compared, for it ran with another configuration: {name} ({what})."
                     for name, what in others.items())  # fmt: skip
    return _section("Against the other run", words, _table(
        ("bench", "figure", "then#", "now#", "change#", ""),
        ((escape(row["bench"]), escape(row["name"]), number(row["old"]), number(row["new"]),
          f"{row['change_percent'] or 0:+.1f} %", _chip(row["verdict"])) for row in rows),
    ))  # fmt: skip


def _figures(found: dict[str, Any]) -> str:
    config = ", ".join(f"{key} {value}" for key, value in found["config"].items())
    words = config + (f". Checked: {'; '.join(found['checked'])}." if found["checked"] else "")
    figures = _table(
        ("figure", "median#", "min#", "max#", "runs#", "unit"),
        ((escape(metric["name"]), f"<b>{number(metric['median'])}</b>", number(metric["min"]), number(metric["max"]),
          str(len(metric["runs"])), escape(metric["unit"])) for metric in found["metrics"]),
    )  # fmt: skip
    return _section(found["title"], words, f"<details><summary>figures</summary>{figures}</details>")


# -- plots ------------------------------------------------------------------------------------------------------------


def _bars_of(benches: Benches, wanted: Iterable[tuple[str, str, str, int]]) -> list[Bar]:
    """(bench, metric, label, color) as bars, as far as they are there."""
    return [
        Bar(label, metric["median"], metric["min"], metric["max"], color)
        for bench, name, label, color in wanted
        for metric in benches.get(bench, {}).get("metrics", ())
        if metric["name"] == name
    ]


def _throughput(benches: Benches) -> str:
    found = _bars_of(benches, [
        ("path", "committed", "whole path, 4 rows committed", 0), ("upstreams", "1 upstream", "… one upstream", 0),
        ("upstreams", "4 upstreams", "… four upstreams", 0), ("order_path", "order path", "order path, process", 1),
        ("power", "order path", "order path, power", 1), ("peers", "classic threaded", "peer: classic threaded", 2),
        ("peers", "batched commits", "peer: batched commits", 2),
        ("peers", "multiprocessing.Queue", "peer: multiprocessing.Queue", 2),
    ])  # fmt: skip
    words = "The line in each bar reaches from the slowest to the quickest run."
    return _section("Orders per second", words, bars(found, "orders/s"))


def _latency(benches: Benches) -> str:
    found = [
        Curve(f"{label}: {says}", each["curve_us"])
        for bench, label in (("latency", "process"), ("latency_power", "power"), ("peers", "peer"))
        for says, each in benches.get(bench, {}).get("latencies", {}).items()
    ]
    words = "1,000 orders a second, open loop; “from when it was due” has no coordinated omission."
    return _section("Latency by percentile", words, curves(found))


def _costs(benches: Benches) -> str:
    stages = ("upstreams", "intake", "sender", "venue", "persistence")
    found = _bars_of(benches, (("path", f"cpu of {stage}", stage, at) for at, stage in enumerate(stages)))
    return _section("What each stage of the whole path costs", "ns of CPU per order", bars(found, "ns"))


def _ring(benches: Benches) -> str:
    links = ("ring", "faster-fifo", "multiprocessing.Queue", "pipe")
    names = [(f"{link}, {size} a frame", at) for size in (1, 16, 128, 1024) for at, link in enumerate(links)]
    found = _bars_of(benches, (("ring", name, name, at) for name, at in names))
    words = "Records of 192 bytes; logarithmic scale."
    return _section("Records per second through a ring and what else there is", words,
                    bars(found, "records/s", log=True))  # fmt: skip


def _roundtrip(benches: Benches) -> str:
    latencies = benches.get("roundtrip", {}).get("latencies", {})
    found = [Curve(name, each["curve_us"]) for name, each in latencies.items()]
    return _section("There and back between two processes", "One record, blocking waits.", curves(found))


_DRAWINGS: tuple[Callable[[Benches], str], ...] = (_throughput, _latency, _costs, _ring, _roundtrip)
