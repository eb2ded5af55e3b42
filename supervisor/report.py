"""The document that a supervisor publishes (see `published.py`), made of what it knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ipc import proc
from supervisor import restart
from supervisor.notes import Note
from supervisor.process import Process


def describe(name: str, started_ns: int, state: restart.State, exit_code: int | None,
             processes: Mapping[str, Process], history: Iterable[Note]) -> dict[str, Any]:
    """The document. Every `..._ns` in it is wall clock, ns since the epoch."""
    spec = state.spec
    return {
        "name": name,
        "pid": os.getpid(),
        "start_ticks": proc.process_start_ticks(os.getpid()),
        "boot_id": proc.boot_id(),
        "state": _lifecycle(state, exit_code),
        "reason": state.reason,
        "exit_code": exit_code,
        "started_at_ns": started_ns,
        "strategy": spec.strategy,
        "intensity": spec.intensity,
        "period_s": spec.period_s,
        "children": [_describe_child(child, processes.get(child.spec.name)) for child in state.children],
        "events": [asdict(note) for note in history],
    }


def _lifecycle(state: restart.State, exit_code: int | None) -> str:
    """starting, up, stopping or ended; "starting" also while a child is missing."""
    if exit_code is not None:
        return "ended"
    if state.end is not None:
        return "stopping"
    return "up" if restart.is_up(state) else "starting"


def _describe_child(child: restart.Child, process: Process | None) -> dict[str, Any]:
    waits = child.wanted and not child.alive and child.due_ns
    to_wall_ns = time.time_ns() - time.monotonic_ns()
    return {
        "name": child.spec.name,
        "pid": process.pid if process else None,
        "start_ticks": process.start_ticks if process else None,
        "state": child.phase,
        "restart": child.spec.restart,
        "restarts": child.restarts,
        "last_exit": asdict(child.last_exit) if child.last_exit else None,
        "started_at_ns": process.started_ns + to_wall_ns if process else None,
        "backoff_until_ns": child.due_ns + to_wall_ns if waits else None,
    }
