"""Two runs side by side: which figures have changed by more than their noise."""

from __future__ import annotations

from typing import Any

LEAST_PERCENT = 5.0

def compare(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each figure that both documents have: medians, change in %, and whether that is more than noise.

    `verdict`: "better" or "worse" only if the ranges of the runs do not overlap, and by at least 5 %; else "same".
    """
    before = {(found["bench"], metric["name"]): metric for found in old["benches"] for metric in found["metrics"]}
    rows = []
    for found in new["benches"]:
        for metric in found["metrics"]:
            known = before.get((found["bench"], metric["name"]))
            if known is not None and metric["better"] != "neither":
                rows.append({
                    "bench": found["bench"], "name": metric["name"], "unit": metric["unit"], "old": known["median"],
                    "new": metric["median"], "change_percent": _change(known["median"], metric["median"]),
                    "verdict": _verdict(known, metric),
                })  # fmt: skip
    return rows


def _change(old: float, new: float) -> float | None:
    return 100 * (new - old) / old if old else None


def _verdict(old: dict[str, Any], new: dict[str, Any]) -> str:
    if abs(_change(old["median"], new["median"]) or 0.0) < LEAST_PERCENT:
        return "same"
    if new["min"] > old["max"]:
        return "better" if new["better"] == "higher" else "worse"
    if new["max"] < old["min"]:
        return "worse" if new["better"] == "higher" else "better"
    return "same"
