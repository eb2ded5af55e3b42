"""Two runs side by side: which figures have changed by more than their noise."""

from __future__ import annotations

from typing import Any

LEAST_PERCENT = 5.0


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each figure that both documents have, of the same bench with the same configuration: medians, change
    in %, and whether that is more than noise.

    `verdict`: "better" or "worse" only if the ranges of the runs do not overlap, and by at least 5 %; "unsure" if that
    is so and one of them is a single run, whose noise nobody knows; else "same".
    """
    before = {found["name"]: found for found in old["benches"]}
    rows = []
    for found in new["benches"]:
        then = before.get(found["name"])
        if then is None or then["config"] != found["config"]:
            continue
        known = {metric["name"]: metric for metric in then["metrics"]}
        for metric in found["metrics"]:
            if metric["better"] != "neither" and metric["name"] in known:
                other = known[metric["name"]]
                rows.append({
                    "bench": found["name"], "name": metric["name"], "unit": metric["unit"], "old": other["median"],
                    "new": metric["median"], "change_percent": _change(other["median"], metric["median"]),
                    "verdict": _verdict(other, metric),
                })  # fmt: skip
    return rows


def not_comparable(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Of the benches that both documents have, those that ran with another configuration, and what was different."""
    before = {found["name"]: found["config"] for found in old["benches"]}
    found = {}
    for bench in new["benches"]:
        then, now = before.get(bench["name"], bench["config"]), bench["config"]
        if other := [key for key in {**then, **now} if then.get(key) != now.get(key)]:
            found[bench["name"]] = ", ".join(f"{key} {then.get(key)} → {now.get(key)}" for key in other)
    return found


def _change(old: float, new: float) -> float | None:
    return 100 * (new - old) / old if old else None


def _verdict(old: dict[str, Any], new: dict[str, Any]) -> str:
    above, below = new["min"] > old["max"], new["max"] < old["min"]
    change = _change(old["median"], new["median"])
    if not (above or below) or (change is not None and abs(change) < LEAST_PERCENT):
        return "same"
    if min(len(old["runs"]), len(new["runs"])) < 2:
        return "unsure"
    return "better" if above == (new["better"] == "higher") else "worse"
