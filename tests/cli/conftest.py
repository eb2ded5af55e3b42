"""The command line called in this process: what it printed and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oms_actors.cli.main import hoisted, run
from tests.cli.places import Ended, Place

Oms = Callable[..., Ended]


@pytest.fixture
def oms(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oms:
    """`oms("check", "--json")` in an empty folder, with no desk running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMS_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("OMS_CONFIG", raising=False)
    monkeypatch.delenv("OMS_INSTANCE", raising=False)

    def call(*arguments: object) -> Ended:
        code = run(hoisted([str(each) for each in arguments]))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def place(oms: Oms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder in which desks may be started."""
    with Place(tmp_path, monkeypatch) as place:
        yield place
