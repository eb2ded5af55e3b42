"""docs/testing.md names tests and planted mistakes that there are."""

from __future__ import annotations

import re
from pathlib import Path

from simulation.defects import DEFECTS

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "testing.md").read_text()


def test_every_test_that_the_document_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT))
    there = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert named
    assert not named - there


def test_every_planted_mistake_is_in_the_document() -> None:
    assert not [defect.title for defect in DEFECTS if f"| {defect.title} |" not in DOCUMENT]
