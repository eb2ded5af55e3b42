"""Specifications as data: what to run, how, and what to do when it ends. All of it is checked before anything starts.

The terms are those of erlang/otp's supervisor: a *permanent* child is always restarted, a *transient* one only after
an abnormal end, a *temporary* one never. `one_for_one` restarts the child that died; `rest_for_one` also those started
after it; `one_for_all` all. More than `intensity` restarts within `period_s` and the supervisor gives up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]

SECONDS_MAX: Final = 86_400  # of any duration here
HEARTBEAT_TIMEOUT_MIN_MS: Final = 500  # below it, a supervisor that was itself paused could not tell who hung
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child process.

    `argv` must exec the program itself (no shell that stays in between): the pid spawned is the pid watched.
    `heartbeat_timeout_ms = 0` is for a program that keeps no vitals: ready once started, only its end is watched.
    `memory_max_bytes` bounds its private memory; `env` adds to the supervisor's own environment.
    """

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    restart: Restart = "permanent"
    ready_timeout_s: float = 10
    shutdown_timeout_s: float = 5
    heartbeat_timeout_ms: int = 1000
    call_timeout_ms: int = 30_000
    memory_max_bytes: int | None = None
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """Children in start order (stopped in reverse), and how the end of one of them is answered."""

    children: tuple[ChildSpec, ...]
    strategy: Strategy = "one_for_one"
    intensity: int = 10
    period_s: float = 60
    backoff_initial_ms: int = 50
    backoff_max_ms: int = 2000


def check(spec: SupervisorSpec) -> list[str]:
    """Every error of the spec, each naming culprit, value and limit; empty if it can be started."""
    errors = []
    if spec.strategy not in get_args(Strategy):
        errors.append(f"strategy: {spec.strategy!r} is none of {', '.join(get_args(Strategy))}")
    if spec.intensity < 0:
        errors.append(f"intensity: {spec.intensity} is below 0")
    errors += _check_range("period_s", spec.period_s, SECONDS_MAX)
    errors += _check_range("backoff_max_ms", spec.backoff_max_ms, SECONDS_MAX * 1000)
    errors += _check_range("backoff_initial_ms", spec.backoff_initial_ms, spec.backoff_max_ms)
    if not spec.children:
        errors.append("children: none given")
    names = [child.name for child in spec.children]
    errors += [f"children: the name {name!r} is used {names.count(name)} times" for name in sorted(set(names))
               if names.count(name) > 1]
    for child in spec.children:
        errors += [f"child {child.name!r}: {error}" for error in _check_child(child)]
    return errors


def _check_child(child: ChildSpec) -> list[str]:
    errors = []
    if not _NAME.fullmatch(child.name):
        errors.append("name: letters, digits, '_', '.', '-' only, at most 63, a letter or digit first")
    if not child.argv or not child.argv[0]:
        errors.append("argv: empty")
    if any("\0" in text for text in child.argv):
        errors.append("argv: holds a NUL byte")
    errors += [f"env: {key!r} is not a variable name" for key, value in child.env
               if not key or "=" in key or "\0" in key + value]
    if child.restart not in get_args(Restart):
        errors.append(f"restart: {child.restart!r} is none of {', '.join(get_args(Restart))}")
    errors += _check_range("ready_timeout_s", child.ready_timeout_s, SECONDS_MAX)
    errors += _check_range("shutdown_timeout_s", child.shutdown_timeout_s, SECONDS_MAX)
    errors += _check_range("call_timeout_ms", child.call_timeout_ms, SECONDS_MAX * 1000)
    if child.heartbeat_timeout_ms and not HEARTBEAT_TIMEOUT_MIN_MS <= child.heartbeat_timeout_ms <= SECONDS_MAX * 1000:
        errors.append(f"heartbeat_timeout_ms: {child.heartbeat_timeout_ms} is neither 0 (none) nor within "
                      f"{HEARTBEAT_TIMEOUT_MIN_MS} .. {SECONDS_MAX * 1000}")
    if child.memory_max_bytes is not None and child.memory_max_bytes <= 0:
        errors.append(f"memory_max_bytes: {child.memory_max_bytes} is not above 0")
    return errors


def _check_range(name: str, value: float, maximum: float) -> list[str]:
    """Also refuses what is not a number (nan) and not finite."""
    return [] if 0 < value <= maximum else [f"{name}: {value} is not above 0 and at most {maximum}"]
