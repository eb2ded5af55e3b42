"""The shell around the restart core: a plain loop on the main thread that spawns, watches, kills and waits.

Theory of operation. The loop sleeps in poll(2) on one pidfd per child and a pipe that signals write to, 180 ms at most
(3 ms while a child is starting). Awake, it turns what it sees into events for the core (`restart.step`) and carries
out the core's actions. It never waits for anything else, so one child's trouble delays no other child's rescue.

- *Fencing*: `Exited` is reported only after waitpid, and only then the core asks for a successor. What an earlier
  supervisor left alive is killed and seen dead before the first start.
- *The spawning thread is the main thread*, because a child's parent-death signal fires when that *thread* ends.
- *A pause of our own* (stopped, suspended, starved) is noticed as a gap in the loop, and forgiven to the children.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from ipc import inject
from ipc.errors import AlreadyLocked
from ipc.lock import FileLock
from supervisor import published, restart
from supervisor.fence import fence
from supervisor.notes import Note, print_note
from supervisor.process import Process
from supervisor.report import describe
from supervisor.restart import End, Exit, Exited, ExitKind, Finish, Phase, Ready, Shutdown, Start, Stop, Tick
from supervisor.service import Notifier
from supervisor.signals import Signals
from supervisor.spec import SupervisorSpec, check
from supervisor.watch import Verdict, judge

EXIT_OK: Final = 0
EXIT_BAD_SPEC: Final = 2  # or a runtime directory that is not ours alone
EXIT_LOCKED: Final = 3  # another supervisor runs this instance
EXIT_GAVE_UP: Final = 4
EXIT_KILLED: Final = 5  # asked twice to stop: the children were killed, not stopped
EXIT_UNFENCED: Final = 6  # a child of a dead supervisor cannot be killed: no successor may start

MS: Final = 1_000_000
_WAKE_MS: Final = 180
_WAKE_STARTING_MS: Final = 3
_GAP_MS: Final = 300  # a loop later than this was itself paused; HEARTBEAT_TIMEOUT_MIN_MS is above _WAKE_MS + this
_MEMORY_EVERY_NS: Final = 1_000_000_000
_HISTORY: Final = 50


def _nothing(*_: object) -> None:
    pass


class Supervisor:
    """Runs `spec` in `runtime_dir` (made if missing, mode 0700); `on_event` gets every Note, by default on stderr.

    With `log_dir` each child's stdout and stderr are appended to `<log_dir>/<child>.out`, else they are ours.

    `prepare` is called before the first start and `clean_up`, with the exit code, after the last child is dead; both
    while this supervisor alone holds the instance. `clean_up` may remove the runtime directory, lock and all.
    `on_exit` gets every child that has died: name, pid, exit code (minus the signal's number) and what is made of it.
    """

    def __init__(self, spec: SupervisorSpec, runtime_dir: str | os.PathLike[str], name: str,
                 on_event: Callable[[Note], None] = print_note, log_dir: str | os.PathLike[str] | None = None,
                 prepare: Callable[[], None] = _nothing, clean_up: Callable[[int], None] = _nothing,
                 on_exit: Callable[[str, int, int, Exit], None] = _nothing) -> None:
        self._spec = spec
        self._name = name
        self._runtime_dir = Path(runtime_dir).absolute()
        self._log_dir = Path(log_dir).absolute() if log_dir is not None else None
        self._on_event = on_event
        self._prepare = prepare
        self._clean_up = clean_up
        self._on_exit = on_exit
        self._state = restart.initial(spec)
        self._processes: dict[str, Process] = {}
        self._events: deque[restart.Event] = deque()
        self._history: deque[Note] = deque(maxlen=_HISTORY)
        self._poll = select.poll()
        self._notifier = Notifier()
        self._started_ns = time.time_ns()
        self._looked_ns = 0
        self._resumed_ns = 0
        self._memory_due_ns = 0
        self._was_up = False
        self._killed = False
        self._changed = True
        self._published = True
        self._exit_code: int | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until asked to stop (SIGTERM, SIGINT, SIGHUP), given up or done; returns one of the EXIT_ codes.

        Raises what `prepare` and `clean_up` raise, and OSError if the runtime directory cannot be used.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("Supervisor.run must be called on the main thread")
        errors = check(self._spec) or self._make_directories()
        for error in errors:
            self._note("", "refused", error)
        if errors:
            return EXIT_BAD_SPEC
        lock = FileLock(str(self._runtime_dir / published.LOCK_NAME))
        try:
            lock.acquire()
        except AlreadyLocked as error:
            self._note("", "locked", f"{self._name} is already run by the supervisor with pid {error.pid} "
                                     f"in {self._runtime_dir}; this one leaves")
            return EXIT_LOCKED
        try:
            return self._hold()
        finally:
            lock.release()

    def _make_directories(self) -> list[str]:
        """Errors, if somebody else could write where we keep our files."""
        self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._log_dir is not None:
            self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._runtime_dir.stat()
        if found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return []
        error = (f"{self._runtime_dir}: owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}; "
                 f"must belong to user {os.geteuid()} and be writable by nobody else")
        return [error]

    def _hold(self) -> int:
        """The instance is ours alone."""
        signals = Signals()
        self._poll.register(signals.fd, select.POLLIN)
        try:
            return self._supervise(signals)
        finally:
            self._kill_all()
            signals.restore()
            self._notifier.close()

    def _supervise(self, signals: Signals) -> int:
        if not self._fence_predecessors():
            return EXIT_UNFENCED
        self._prepare()
        self._looked_ns = time.monotonic_ns()
        self._events.append(Tick())
        while True:
            self._carry_out()
            if self._changed:
                self._publish()
            if self._exit_code is not None:
                self._clean_up(self._exit_code)
                return self._exit_code
            self._observe(signals, self._sleep())

    def _fence_predecessors(self) -> bool:
        former = published.read(self._runtime_dir)
        if former is None:
            return True
        if former.state != "ended":
            self._note("", "stale", f"the supervisor with pid {former.supervisor.pid} ended without stopping")
        left = fence(former)
        if left is not None:
            self._note(left.name, "not fenced", f"pid {left.pid} of a dead supervisor cannot be killed")
        return left is None

    def _kill_all(self) -> None:
        """Nobody is left after an orderly end. After a bug of ours nobody may be left either."""
        for process in self._processes.values():
            process.kill()
        while self._processes:
            _, process = self._processes.popitem()
            process.reap()

    # -- the core's actions -------------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        while self._events:
            event = self._events.popleft()
            before = self._state
            self._state, actions = restart.step(before, event, time.monotonic_ns())
            self._changed = self._changed or self._state is not before
            for action in actions:
                match action:
                    case Start(name):
                        self._start(name)
                    case Stop(name):
                        self._note(name, "asked to stop", "")
                        self._processes[name].ask_to_stop()
                    case Finish():
                        self._finish()

    def _start(self, name: str) -> None:
        child = next(child for child in self._state.children if child.spec.name == name)
        spec, last_exit = child.spec, child.last_exit.text if child.last_exit else ""
        try:
            process = Process.spawn(spec, self._runtime_dir, self._log_dir, last_exit)
        except OSError as error:
            exit = Exit(ExitKind.NO_SPAWN, f"could not be started: {error}")
            self._note(name, "no spawn", exit.text)
            self._events.append(Exited(name, exit))
            return
        self._processes[name] = process
        self._poll.register(process.pidfd, select.POLLIN)
        self._note(name, "started", f"pid {process.pid}")
        inject.point("supervisor.spawned")
        if process.is_ready():
            self._events.append(Ready(name))

    def _finish(self) -> None:
        if self._exit_code is not None:
            return
        self._exit_code = EXIT_KILLED if self._killed else EXIT_OK
        if self._state.end is End.GAVE_UP:
            self._exit_code = EXIT_GAVE_UP
        self._note("", "ended", self._state.reason)

    # -- what is seen -------------------------------------------------------------------------------------------------

    def _sleep(self) -> set[int]:
        """Until something happens or is due; the readable descriptors."""
        now_ns = time.monotonic_ns()
        wake_ms = _WAKE_MS
        if any(child.phase is Phase.STARTING for child in self._state.children):
            wake_ms = _WAKE_STARTING_MS
        due_ns = [process.stop_by_ns for process in self._processes.values()]
        due_ns.append(restart.next_due_ns(self._state, now_ns))
        for at_ns in due_ns:
            if at_ns is not None and at_ns > now_ns:
                wake_ms = min(wake_ms, (at_ns - now_ns) // MS + 1)
        return {fd for fd, _ in self._poll.poll(wake_ms)}

    def _observe(self, signals: Signals, readable: set[int]) -> None:
        now_ns = time.monotonic_ns()
        self._notice_own_pause(now_ns)
        if signals.drain():
            self._asked(signals)
        memory_due = now_ns >= self._memory_due_ns
        if memory_due:
            self._memory_due_ns = now_ns + _MEMORY_EVERY_NS
        phases = {child.spec.name: child.phase for child in self._state.children}
        for name, process in list(self._processes.items()):
            if process.pidfd in readable:
                self._bury(name, process)
            elif process.killed_for is None:
                self._look_at(process, phases[name], memory_due, now_ns)
        self._events.append(Tick())
        self._tell_manager(now_ns)

    def _notice_own_pause(self, now_ns: int) -> None:
        away_ns = now_ns - self._looked_ns
        self._looked_ns = now_ns
        if away_ns > (_WAKE_MS + _GAP_MS) * MS:
            self._resumed_ns = now_ns
            self._note("", "paused", f"was itself not running for {away_ns / 1e9:.1f} s; "
                                     "children get a fresh heartbeat timeout")

    def _asked(self, signals: Signals) -> None:
        name = signals.came[-1].name
        if self._state.end is None:
            self._note("", "asked", f"to stop by {name}")
            self._events.append(Shutdown(f"asked to stop by {name}"))
        if len(signals.came) > 1:
            self._note("", "asked again", f"by {name}: killing every child")
            self._killed = True
            for process in self._processes.values():
                process.kill()

    def _bury(self, name: str, process: Process) -> None:
        self._poll.unregister(process.pidfd)
        exit = process.reap()
        del self._processes[name]
        self._note(name, "exited", exit.text)
        try:
            self._on_exit(name, process.pid, process.code or 0, exit)
        except OSError as error:
            self._note(name, "not reported", str(error))
        self._events.append(Exited(name, exit))

    def _look_at(self, process: Process, phase: Phase, memory_due: bool, now_ns: int) -> None:
        """Ready? Too late, hanging, too big? A verdict is carried out at once; the pidfd then tells of the death."""
        spec = process.spec
        match phase:
            case Phase.STARTING:
                if process.is_ready():
                    self._note(spec.name, "ready", f"after {(now_ns - process.started_ns) / 1e9:.2f} s")
                    self._events.append(Ready(spec.name))
                elif now_ns - max(process.started_ns, self._resumed_ns) > spec.ready_timeout_s * 1e9:
                    self._kill(process, ExitKind.NOT_READY, f"not ready within {spec.ready_timeout_s:g} s")
                else:
                    self._check_heartbeat(process, now_ns)
            case Phase.STOPPING:
                if process.stop_by_ns is not None and now_ns >= process.stop_by_ns:
                    self._kill(process, ExitKind.NOT_STOPPED, f"did not stop within {spec.shutdown_timeout_s:g} s")
            case Phase.RUNNING:
                self._check_heartbeat(process, now_ns)
        if memory_due and process.killed_for is None:
            self._check_memory(process)

    def _check_heartbeat(self, process: Process, now_ns: int) -> None:
        spec = process.spec
        signs = process.signs()
        if signs is None or signs.heartbeat_ns == 0 or spec.heartbeat_timeout_ms == 0:
            return  # a start may be long and silent; but who has given one heartbeat must go on
        verdict, text = judge(signs, spec.heartbeat_timeout_ms, spec.call_timeout_ms, self._resumed_ns, now_ns)
        if verdict is Verdict.HANGS:
            self._kill(process, ExitKind.HANG, text)
        elif verdict is Verdict.STUCK_IN_CALL:
            self._kill(process, ExitKind.STUCK_CALL, text)

    def _check_memory(self, process: Process) -> None:
        limit = process.spec.memory_max_bytes
        if limit is None:
            return
        try:
            memory = psutil.Process(process.pid).memory_info()
        except (psutil.Error, OSError):
            return  # dead, and its pidfd says so; or no descriptors left, and we look again
        private = memory.rss - memory.shared  # what is mapped from shared rings and journals is not its own growth
        if private > limit:
            self._kill(process, ExitKind.MEMORY, f"{private >> 20} MiB of private memory, limit {limit >> 20} MiB")

    def _kill(self, process: Process, kind: ExitKind, text: str) -> None:
        self._note(process.spec.name, "killed", text)
        process.kill(Exit(kind, text))

    # -- what is told -------------------------------------------------------------------------------------------------

    def _tell_manager(self, now_ns: int) -> None:
        self._notifier.alive(now_ns)
        state = self._state
        if state.end is not None:
            self._notifier.stopping()
        elif restart.is_up(state) and not self._was_up:
            self._was_up = True
            self._notifier.ready()
        running = sum(child.phase is Phase.RUNNING for child in state.children)
        self._notifier.status(state.reason or f"{running} of {len(state.children)} children running")

    def _note(self, child: str, what: str, text: str) -> None:
        note = Note(time.time_ns(), child, what, text)
        self._history.append(note)
        self._changed = True
        try:
            self._on_event(note)
        except OSError:
            pass  # a full disk or a closed terminal: supervising matters more

    def _publish(self) -> None:
        self._changed = False
        try:
            published.publish(self._runtime_dir, describe(
                self._name, self._started_ns, self._state, self._exit_code, self._processes, self._history))
        except OSError as error:
            if self._published:
                self._note("", "not published", str(error))
            self._published = False
            self._changed = True  # the next round tries again
            return
        self._published = True
