"""A desk around intake's actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.intake.desk import Desk


@pytest.fixture
def make_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    """Makes the test's desk; keywords as DeskConfig's, and `session`, `capacity`."""
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path))
    made: list[Desk] = []

    def make(**config: Any) -> Desk:
        made.append(Desk(tmp_path, **config))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """One with small rings."""
    return make_desk()
