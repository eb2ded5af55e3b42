"""A process of the desk, without being one: a role under the shell's rules, which may be killed or stopped anywhere.

A *kill* is an exception that no product code catches, raised where the process happens to be: at one of the points that
the simulation controls (a look at the clock, a disk operation, an exchange call) or at any line of product code, found
with `sys.settrace`. After it nothing of the process acts any more; the kernel's part (locks, descriptors, an open
database transaction) is played by `_release`. A *stop* lets the others work, and time pass, in the middle of a cycle.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from simulation.clock import MS

import ipc
import oms_actors
from ipc import lock
from ipc.segment import Segment
from oms_actors.actors.shell import Context

if TYPE_CHECKING:
    from simulation.world import World

IDLE_NS = 50 * MS
PRODUCT = tuple(f"{Path(package.__path__[0])}{os.sep}" for package in (ipc, oms_actors))
"""Where the product's code is, wherever that may be on this machine."""


class Killed(BaseException):
    """The process is dead."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Fate(Enum):
    """What befalls a process in the middle of a cycle."""

    KILL = auto()
    STOP = auto()
    """Others go on for a moment."""
    LONG_STOP = auto()
    """Others go on for seconds."""
    POWER = auto()
    """The machine loses power."""


class Blow:
    """One fate, at the `at`-th line of product code that a cycle comes along, or (with `where`) at the `at`-th point
    whose name begins so."""

    def __init__(self, fate: Fate, at: int, where: str | None) -> None:
        self.fate, self.at, self.where = fate, at, where


class _Bell:
    """The process's own doorbell: nobody sleeps here, the world lets time pass."""

    look_ns = 0

    def __init__(self, process: Process) -> None:
        self._process = process

    def ring(self) -> None:
        pass

    wake = ring

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        self._process.world.let_others_work(self._process, int(timeout_s * 1e9))
        return ready()


class _Vitals:
    ready_ns = 1

    def beat(self, now_ns: int) -> None: ...
    def enter_call(self, now_ns: int) -> None: ...
    def leave_call(self) -> None: ...


class Process:
    """`factory(context)` makes the role. `step` is one pass of the shell's duty cycle."""

    def __init__(self, world: World, name: str, factory: Callable[[Context], Any]) -> None:
        self.world, self.name, self._factory = world, name, factory
        self.role: Any = None
        self.lives = 0
        self.blow: Blow | None = None
        self.doomed = False
        """Dies as soon as it goes on."""
        self.busy = False
        """In the middle of a cycle (stopped there, if another one runs)."""
        self.segments: list[Segment] = []
        self.connections: list[Any] = []
        self.rest_ns = 0
        """So much longer it stays away when it dies."""
        self.wall_seen = self.looked_ns = 0
        """The last wall time that it looked at, and when."""
        self.starting = False
        self._again = False
        self._due_after = 0
        self._lines = 300
        self._counted = 0

    # -- life -------------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Started, and not killed since."""
        return self.role is not None

    def start(self) -> bool:
        """What its supervisor and shell do; False if it died of it."""
        self.lives += 1
        self.starting = True
        try:
            return self._run(self._start)
        finally:
            self.starting = False

    def _start(self) -> bool:
        world = self.world
        bell: Any = _Bell(self)
        context = Context(
            Path(world.runtime), self.name, bell, _Vitals(), None, _Crash(), logging.getLogger(self.name),  # type: ignore[arg-type]
            real_time=lambda yes: False,
        )
        self._again = False
        role = self._factory(context)
        role.start()
        self.role = role
        world.note("start", self.name, self.lives)
        return True

    def step(self) -> bool:
        """One pass; True if it did anything."""
        return self._run(self._pass)

    def _pass(self) -> bool:
        role = self.role
        if not self._again:
            due = role.next_due_ns()
            if not (0 < due <= self.world.clock.monotonic_ns() or role.ready()):
                self._due_after = due
                return False
        self._again = bool(role.work())
        self._due_after = 0
        return True

    def due_ns(self) -> int:
        """When it wants to be looked at again (monotonic), as the shell would."""
        latest = self.world.clock.mono_ns + IDLE_NS
        return min(self._due_after, latest) if self._due_after else latest

    def command(self, message: object) -> bool:
        """A control message, as from its mailbox."""

        def carry_out() -> bool:
            self.role.command(message)
            return True

        return self._run(carry_out)

    def stop(self) -> bool:
        """An orderly end; False if it died of it."""

        def stop() -> bool:
            self.role.stop()
            return True

        done = self._run(stop)
        if self.alive:
            self._release()
        return done

    # -- death ------------------------------------------------------------------------------------------------------

    def _run(self, what: Callable[[], bool]) -> bool:
        world = self.world
        before, world.current = world.current, self
        self.busy, self._counted = True, 0
        tracing = self.blow is not None and self.blow.where is None
        try:
            if tracing:
                sys.settrace(self._trace)
            try:
                return what()
            finally:
                if tracing:
                    sys.settrace(None)
                    self._lines = max(50, self._counted)
        except Killed:
            self._die("killed")
        except Broken:
            raise
        except Exception as error:
            world.crashed(self, error)
            self._die(f"crashed: {error}")
        finally:
            self.busy = False
            self.blow = None
            world.current = before
        return False

    def _die(self, why: str) -> None:
        self.world.note("death", self.name, why)
        self._release()
        self.world.died(self)

    def kill(self) -> None:
        """From outside: at once, or as soon as a stopped one would go on."""
        if self.busy:
            self.doomed = True
        elif self.alive:
            self._die("killed")

    def _release(self) -> None:
        """What the kernel does for the dead."""
        self.role = None
        self.doomed = False
        for connection in self.connections:
            connection.abandon()
        for segment in self.segments:
            if segment.fd >= 0:
                lock.unlock(segment.fd)
                segment.close()
        self.connections.clear()
        self.segments.clear()
        gc.collect(1)

    # -- blows ------------------------------------------------------------------------------------------------------

    def lines_likely(self) -> int:
        """About how many lines a cycle has."""
        return self._lines

    def point(self, name: str) -> None:
        """The process comes along a place where it may be hit."""
        blow = self.blow
        if blow is not None and blow.where is not None and name.startswith(blow.where):
            blow.at -= 1
            if blow.at <= 0:
                self._hit(blow)
        if self.doomed:
            raise Killed

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._trace_line if frame.f_code.co_filename.startswith(PRODUCT) else None

    def _trace_line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self._counted += 1
            blow = self.blow
            if blow is not None and self._counted >= blow.at:
                self.world.note("at", frame.f_code.co_filename.rpartition("/")[2], frame.f_lineno)
                self._hit(blow)
        return self._trace_line

    def _hit(self, blow: Blow) -> None:
        self.blow = None
        world = self.world
        world.note("blow", self.name, blow.fate.name)
        if blow.fate is Fate.KILL:
            raise Killed
        if blow.fate is Fate.POWER:
            world.power_fails()
            raise Killed
        world.let_others_work(self, world.stop_length(blow.fate))
        if self.doomed:
            raise Killed


class _Crash:
    """The shell's crash report; roles do not use it."""

    def die(self, *arguments: object) -> None:
        raise AssertionError(f"died by itself: {arguments}")
