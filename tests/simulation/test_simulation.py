"""The desk in a hostile world: a few hundred seeds here, as many as you like with `make simulate SEEDS=10000`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.run import simulate

SEEDS = int(os.environ.get("OMS_SIMULATION_SEEDS", "200"))
PER_TEST = 20
TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("first", range(1, SEEDS + 1, PER_TEST))
def test_every_invariant_holds_whatever_goes_wrong(first: int) -> None:
    for seed in range(first, min(first + PER_TEST, SEEDS + 1)):
        problems = simulate(seed).problems
        assert not problems, f"make simulate SEEDS=1 SEED={seed}: {problems[:3]}"


def test_a_seed_replays_to_the_same_history() -> None:
    here = simulate(3).fingerprint
    assert simulate(3).fingerprint == here
    program = "from simulation.run import simulate; print(simulate(3).fingerprint)"
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "77"}
    elsewhere = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert elsewhere.stdout.strip() == here, elsewhere.stderr
