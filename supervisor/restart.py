"""The restart core: (state, event, now_ns) -> (state, actions). Pure: no clock, no process, no file.

Theory of operation. Each child is DOWN, STARTING, RUNNING or STOPPING, and carries what is wanted of it. An event
changes that; then `_plan` looks at the whole and asks for the next moves:

- *Stops go right to left, one at a time*: the last doomed child is stopped, and nothing else moves until it is gone.
- *Starts go left to right*: a child starts when its backoff is over and every earlier wanted child is RUNNING. Only
  under `one_for_one` a child that has run before returns without waiting for the others.
- *A successor is asked for only after `Exited` of the predecessor*, which the shell reports after waitpid. That is
  the fence.

The arithmetic is erlang/otp's (lib/stdlib/src/supervisor.erl, `add_restart`): the restarts of the last `period`
are kept, those exactly at its edge included; more than `intensity` of them and the supervisor gives up. A failed
start counts like a death. Unlike OTP a failed first start is retried too, and restarts wait: the delay of a child
doubles with each failure in a row and is forgotten once it has run for `backoff_max`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from supervisor.spec import ChildSpec, SupervisorSpec

MS: Final = 1_000_000


class Phase(StrEnum):
    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class ExitKind(StrEnum):
    """How a child ended; all but NORMAL are abnormal."""

    NORMAL = "normal"  # exit code 0
    ERROR = "error"  # any other exit code
    SIGNAL = "signal"  # killed by a signal that was not ours
    HANG = "hang"  # no heartbeat; killed by us
    STUCK_CALL = "stuck_call"  # in one foreign call for too long; killed by us
    MEMORY = "memory"  # over its memory limit; killed by us
    NOT_READY = "not_ready"  # not ready in time; killed by us
    NOT_STOPPED = "not_stopped"  # asked to stop and did not in time; killed by us
    NO_SPAWN = "no_spawn"  # could not be started at all


@dataclass(frozen=True, slots=True)
class Exit:
    kind: ExitKind
    text: str  # for people: "exit code 7", "signal SIGSEGV", "no heartbeat for 1.2 s"


@dataclass(frozen=True, slots=True)
class Child:
    spec: ChildSpec
    phase: Phase = Phase.DOWN
    wanted: bool = True  # to be running as soon as allowed
    doomed: bool = False  # alive, but to be stopped
    seen: bool = False  # has been ready at least once
    due_ns: int = 0  # not before this instant
    ready_ns: int = 0
    failures: int = 0  # in a row
    restarts: int = 0
    last_exit: Exit | None = None

    @property
    def alive(self) -> bool:
        return self.phase is not Phase.DOWN


class End(StrEnum):
    """Why the supervisor ends."""

    ASKED = "asked"
    DONE = "done"  # no child is left to watch, and none is to come back
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True)
class State:
    spec: SupervisorSpec
    children: tuple[Child, ...]
    restarts_ns: tuple[int, ...] = ()  # inside the window, oldest first
    end: End | None = None
    reason: str = ""


# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Also the first event of all."""


@dataclass(frozen=True, slots=True)
class Ready:
    name: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The child is proven dead (waited for), or never came to life."""

    name: str
    exit: Exit


@dataclass(frozen=True, slots=True)
class Shutdown:
    reason: str


Event = Tick | Ready | Exited | Shutdown

# -- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask, wait for shutdown_timeout_s, kill; `Exited` follows."""

    name: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Every child is dead and none is to start: leave, for `State.end` and `State.reason`."""


Action = Start | Stop | Finish


def initial(spec: SupervisorSpec) -> State:
    return State(spec, tuple(Child(child) for child in spec.children))


def step(state: State, event: Event, now_ns: int) -> tuple[State, tuple[Action, ...]]:
    """Take in one event and say what to do now. Actions are to be carried out in order."""
    match event:
        case Ready(name):
            state = _update(state, name, lambda child: _ready(child, now_ns))
        case Exited(name, exit):
            state = _exited(state, name, exit, now_ns)
        case Shutdown(reason) if state.end is None:
            state = _ending(state, End.ASKED, reason)
        case _:
            pass
    return _plan(state, now_ns)


def next_due_ns(state: State, now_ns: int) -> int | None:
    """When the next backoff will be over, if any runs: then a `Tick` may have something to start."""
    due = [child.due_ns for child in state.children if child.wanted and not child.alive and child.due_ns > now_ns]
    return min(due, default=None)


def is_up(state: State) -> bool:
    """Every child that is to run is running."""
    return state.end is None and all(child.phase is Phase.RUNNING or not child.wanted for child in state.children)


# -- what an event changes --------------------------------------------------------------------------------------------


def _ready(child: Child, now_ns: int) -> Child:
    if child.phase is not Phase.STARTING:
        return child
    return replace(child, phase=Phase.RUNNING, seen=True, ready_ns=now_ns)


def _exited(state: State, name: str, exit: Exit, now_ns: int) -> State:
    child = _find(state, name)
    gone = replace(child, phase=Phase.DOWN, doomed=False, last_exit=exit)
    state = _update(state, name, lambda _: gone)
    if child.doomed:
        return state  # we were stopping it anyhow: how it ended changes nothing
    if not _comes_back(child.spec, exit):
        return _update(state, name, lambda child: replace(child, wanted=False))
    return _restart(state, gone, now_ns)


def _comes_back(spec: ChildSpec, exit: Exit) -> bool:
    return spec.restart == "permanent" or (spec.restart == "transient" and exit.kind is not ExitKind.NORMAL)


def _restart(state: State, child: Child, now_ns: int) -> State:
    """Count a restart of `child`, then either give up or take down what its strategy takes down with it."""
    spec = state.spec
    restarts_ns = add_restart(state.restarts_ns, now_ns, int(spec.period_s * 1e9))
    state = replace(state, restarts_ns=restarts_ns)
    if len(restarts_ns) > spec.intensity:
        return _ending(state, End.GAVE_UP, _why_given_up(spec, child, len(restarts_ns)))
    lasted = child.ready_ns and now_ns - child.ready_ns >= spec.backoff_max_ms * MS
    failures = 1 if lasted else child.failures + 1
    due_ns = now_ns + backoff_ns(spec, failures)
    state = _update(state, child.spec.name, lambda child: replace(
        child, failures=failures, restarts=child.restarts + 1, due_ns=due_ns, ready_ns=0))
    return _take_down_group(state, child.spec.name, due_ns)


def add_restart(restarts_ns: tuple[int, ...], now_ns: int, period_ns: int) -> tuple[int, ...]:
    """The restarts inside the window ending now, this one included; one exactly `period_ns` old still counts."""
    return (*(at_ns for at_ns in restarts_ns if at_ns >= now_ns - period_ns), now_ns)


def backoff_ns(spec: SupervisorSpec, failures: int) -> int:
    """The delay before the restart that follows the `failures`-th failure in a row."""
    return min(spec.backoff_initial_ms << min(failures - 1, 30), spec.backoff_max_ms) * MS


def _why_given_up(spec: SupervisorSpec, child: Child, restarts: int) -> str:
    last = child.last_exit.text if child.last_exit else "unknown"
    return (f"{restarts} restarts within {spec.period_s:g} s, more than intensity = {spec.intensity}; "
            f"the last was of {child.spec.name!r}: {last}")


def _take_down_group(state: State, name: str, due_ns: int) -> State:
    """Doom whom the strategy restarts together with `name`; nobody of the group is back before its backoff is over.

    As in OTP a temporary one does not come back, and a transient one that had already ended is started again.
    """
    strategy = state.spec.strategy
    if strategy == "one_for_one":
        return state
    at = [child.spec.name for child in state.children].index(name)
    first = 0 if strategy == "one_for_all" else at
    return replace(state, children=tuple(
        child if i < first else _with_group(child, due_ns) for i, child in enumerate(state.children)))


def _with_group(child: Child, due_ns: int) -> Child:
    wanted = child.spec.restart != "temporary"
    return replace(child, doomed=child.alive, wanted=wanted, ready_ns=0, due_ns=due_ns)


def _ending(state: State, end: End, reason: str) -> State:
    children = tuple(replace(child, wanted=False, doomed=child.alive) for child in state.children)
    return replace(state, end=end, reason=reason, children=children)


# -- what to do next --------------------------------------------------------------------------------------------------


def _plan(state: State, now_ns: int) -> tuple[State, tuple[Action, ...]]:
    if any(child.phase is Phase.STOPPING for child in state.children):
        return state, ()
    doomed = [child for child in state.children if child.doomed]
    if doomed:
        name = doomed[-1].spec.name
        return _update(state, name, lambda child: replace(child, phase=Phase.STOPPING)), (Stop(name),)
    if not any(child.alive or child.wanted for child in state.children):
        if state.end is None:
            state = replace(state, end=End.DONE, reason="every child has ended and none is to be restarted")
        return state, (Finish(),)
    starts = _startable(state, now_ns)
    for name in starts:
        state = _update(state, name, lambda child: replace(child, phase=Phase.STARTING, due_ns=0))
    return state, tuple(Start(name) for name in starts)


def _startable(state: State, now_ns: int) -> list[str]:
    alone = state.spec.strategy == "one_for_one"
    names = []
    earlier_up = True
    for child in state.children:
        if not child.wanted:
            continue
        if not child.alive and child.due_ns <= now_ns and (earlier_up or (alone and child.seen)):
            names.append(child.spec.name)
        earlier_up = earlier_up and child.phase is Phase.RUNNING
    return names


def _find(state: State, name: str) -> Child:
    return next(child for child in state.children if child.spec.name == name)


def _update(state: State, name: str, change: Callable[[Child], Child]) -> State:
    return replace(state, children=tuple(
        change(child) if child.spec.name == name else child for child in state.children))
