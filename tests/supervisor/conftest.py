from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.running import Instance

Make = Callable[..., Instance]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Make]:
    """Makes instances that are gone when the test is over, whatever it did."""
    made: list[Instance] = []

    def make(*tables: str, **spec: Any) -> Instance:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Instance(directory, *tables, **spec))
        return made[-1]

    yield make
    for one in made:
        one.clean_up()
