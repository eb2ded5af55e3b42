"""The stress scenarios, small, against a real venue process."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms_actors.venue_stress import SCENARIOS, Scenario, stress

pytestmark = pytest.mark.process


def test_every_scenario_answers_for_every_order_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path))
    small = (
        Scenario(name="burst", clients=10, orders=100, window=1),
        Scenario(name="steady", clients=3, orders=20, rate=200.0),
        Scenario(name="balanced", clients=4, orders=400, must_fill=True, is_balanced=True),
    )
    assert {s.name for s in small} < {s.name for s in SCENARIOS}
    told: list[tuple[str, int, int]] = []
    results = list(stress(small, lambda *progress: told.append(progress)))
    assert [(r.scenario, r.orders, r.succeeded, r.success_percent, r.rejected) for r in results] == [
        ("burst", 100, 100, 100.0, 0),
        ("steady", 20, 20, 100.0, 0),
        ("balanced", 400, 400, 100.0, 0),
    ]
    balanced = results[2]
    assert (balanced.trades, balanced.volume, balanced.price_low) == (200, 2000, "100.0")
    assert 0 < balanced.latency_us["p50"] <= balanced.latency_us["p100"]
    assert results[1].orders_per_s < 220
    assert told[-1] == ("balanced", 400, 400)
    assert list(tmp_path.iterdir()) == []
