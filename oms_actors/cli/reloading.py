"""`oms reload`: a running desk takes over other risk limits.

`desk.json` is what the processes read, so it is replaced as a whole first: a process that is dead or hangs now has the
new limits once it is back. Then intake and sender are asked to look at it; the sender's journal keeps who changed what.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pykka

from ipc.errors import IpcError
from oms_actors.actors.commands import Reload
from oms_actors.actors.remote import AskFailed, remote_ref
from oms_actors.cli.output import Failed
from oms_actors.config import Config
from oms_actors.edges import settings
from oms_actors.instance import read_desk, runtime_dir, write_desk

LISTENERS = ("sender", "intake")
TIMEOUT_S = 10.0


class Reloaded(NamedTuple):
    """What was taken over, as "key: before -> now", and the keys of what waits for the next start."""

    changed: list[str]
    later: list[str]


def reload(config: Path | None, instance: str, by: str) -> Reloaded:
    """Raises ConfigError (nothing has changed then), DeskDown, Failed (a process does not answer)."""
    found, _ = settings.load(config, os.environ, instance)
    runtime = runtime_dir(instance)
    resolved = read_desk(runtime)
    before = resolved.config
    changed = [f"{key}: {_shown(was)} -> {_shown(now)}" for key, was, now in differences(before, found, "risk")]
    later = [key for key, _, _ in differences(before, found, "") if not key.startswith("risk.")]
    if changed:
        taken = msgspec.structs.replace(before, risk=found.risk)
        write_desk(msgspec.structs.replace(resolved, config=taken))
        _announce(runtime, f"by {by}: {', '.join(changed)}")
    return Reloaded(changed, later)


def differences(before: Config, now: Config, section: str) -> list[tuple[str, Any, Any]]:
    """(key, value before, value now) of everything in a section ("" = anywhere) that is not the same."""
    old = dict(settings.values(before))
    return [(key, old[key], value) for key, value in settings.values(now)
            if old[key] != value and key.startswith(section)]  # fmt: skip


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _announce(runtime: Path, words: str) -> None:
    silent = []
    for role in LISTENERS:
        try:
            remote_ref(runtime, role).ask(Reload(words), timeout=TIMEOUT_S)
        except (pykka.Timeout, pykka.ActorDeadError, AskFailed, IpcError) as error:
            silent.append(f"{role} ({error})")
    if silent:
        raise Failed(f"not yet taken over by {', '.join(silent)}: once it is back it has them; see `oms status`")
