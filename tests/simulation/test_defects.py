"""The checker can fail: each of these mistakes, planted into the product, is noticed within a few seeds."""

from __future__ import annotations

import pytest
from simulation.defects import DEFECTS, Defect, hunt
from simulation.run import simulate_scenario
from simulation.scenario import scenario

SEEDS = range(1, 25)


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.title for defect in DEFECTS])
def test_the_checker_notices_that(defect: Defect) -> None:
    verdict = hunt(defect, SEEDS)
    assert verdict is not None, "no seed noticed"


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.title for defect in DEFECTS])
def test_without_the_mistake_nothing_is_noticed(defect: Defect) -> None:
    verdict = simulate_scenario(defect.conditions(scenario(SEEDS[0])))
    assert not verdict.problems
