"""A role without its shell: in this process, driven by hand."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ipc.wait import Bell
from oms_actors import instance
from oms_actors.config import Config, Resolved


class Calls:
    """In place of vital signs: knows whether a foreign call is going on."""

    def __init__(self) -> None:
        self.entered = False

    def enter_call(self, now_ns: int) -> None:
        self.entered = True

    def leave_call(self) -> None:
        self.entered = False


def resolve(folder: Path, config: Config | None = None, desk_id: int = 7) -> Resolved:
    """An instance under `folder`: directories made, `desk.json` written."""
    runtime, data = folder / "run", folder / "data"
    for path in (runtime, data):
        path.mkdir(parents=True, exist_ok=True)
    resolved = Resolved(
        instance="t", runtime_dir=str(runtime), data_dir=str(data), config_dir="", desk_id=desk_id,
        config=config or Config(),
    )  # fmt: skip
    instance.write_desk(resolved)
    return resolved


def context_of(resolved: Resolved, name: str) -> Any:
    """What a shell would hand to the role."""
    runtime = Path(resolved.runtime_dir)
    return SimpleNamespace(
        runtime=runtime, name=name, bell=Bell.create(str(runtime / f"{name}.bell")), vitals=Calls(),
        log=logging.getLogger(name), beat=lambda: None, path=lambda file: str(runtime / file),
        real_time=lambda yes: False,
    )  # fmt: skip
