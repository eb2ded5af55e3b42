"""One life of one child: spawned, asked, killed, proven dead.

The pidfd is the handle: it never means another process, it becomes readable when the child has died, and the child
stays a zombie (its pid unused) until `reap`. A child leads its own process group, so that a Ctrl-C at the terminal
reaches only the supervisor, which then stops everybody in order; whatever the child leaves in that group dies with it.

The kernel is asked, between fork and exec, to kill the child when the supervisor dies (prctl(2), PR_SET_PDEATHSIG: it
survives exec and fires when the spawning *thread* ends). So even a program that knows nothing of us is never an
orphan. That costs fork instead of vfork, 2 ms a spawn.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ipc import proc
from ipc.errors import IpcError
from ipc.vitals import State, Vitals
from supervisor.notes import redact
from supervisor.restart import Exit, ExitKind
from supervisor.service import NOTIFY_VARIABLES
from supervisor.spec import ChildSpec
from supervisor.watch import Signs

VITALS_SUFFIX: Final = ".vitals"
OUTPUT_SUFFIX: Final = ".out"
LAST_LINE_BYTES_MAX: Final = 1_000
OUTPUT_BYTES_MAX: Final = 1_000_000  # of one child's output before a spawn sets it aside as `.out.1`


class Process:
    """`spawn` raises OSError if the program cannot be started."""

    def __init__(self, spec: ChildSpec, popen: subprocess.Popen[bytes], vitals_path: Path,
                 said: Said | None = None) -> None:
        self.spec = spec
        self.pid = popen.pid
        self.pidfd = os.pidfd_open(popen.pid)
        self.start_ticks = proc.process_start_ticks(popen.pid)
        self.started_ns = time.monotonic_ns()
        self.stop_by_ns: int | None = None  # asked to stop; killed at this instant
        self.killed_for: Exit | None = None
        self.code: int | None = None  # how it ended: exit code, or minus the signal
        self._popen = popen
        self._vitals_path = vitals_path
        self._said = said
        self._vitals: Vitals | None = None

    @classmethod
    def spawn(cls, spec: ChildSpec, runtime_dir: Path, log_dir: Path | None, last_exit: str = "") -> Process:
        vitals_path = runtime_dir / (spec.name + VITALS_SUFFIX)
        for half_made in runtime_dir.glob(vitals_path.name + ".*.new"):
            half_made.unlink(missing_ok=True)
        output = _open_output(log_dir, spec.name) if log_dir is not None else None
        said = None
        if log_dir is not None and output is not None:
            said = Said(log_dir / (spec.name + OUTPUT_SUFFIX), os.fstat(output).st_size)
        try:
            popen = subprocess.Popen(
                spec.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=spec.cwd, process_group=0,
                env=_environment(spec, runtime_dir, last_exit),
                preexec_fn=partial(proc.set_pdeathsig, signal.SIGKILL, os.getpid()))
        except subprocess.SubprocessError as error:
            raise OSError(str(error)) from error
        finally:
            if output is not None:
                os.close(output)
        try:
            return cls(spec, popen, vitals_path, said)
        except BaseException:  # no descriptors left, say: a child that cannot be watched must not live
            popen.kill()
            popen.wait()
            raise

    def signs(self) -> Signs | None:
        vitals = self._attach()
        if vitals is None:
            return None
        in_call_since_ns = vitals.in_call_since_ns  # before the heartbeat: see ipc/vitals.py
        return Signs(vitals.heartbeat_ns, in_call_since_ns, vitals.in_call_limit_ns)

    def is_ready(self) -> bool:
        if self.spec.heartbeat_timeout_ms == 0:
            return True
        vitals = self._attach()
        return vitals is not None and vitals.ready_ns != 0

    def _attach(self) -> Vitals | None:
        """The vitals of *this* process; a file that is not (yet) its own, but a predecessor's, counts as absent."""
        if self._vitals is None:
            try:
                vitals = Vitals.attach(self._vitals_path)
            except (OSError, IpcError):
                return None
            if (vitals.pid, vitals.start_ticks) != (self.pid, self.start_ticks):
                vitals.close()
                return None
            self._vitals = vitals
        return self._vitals

    def ask_to_stop(self) -> None:
        self.stop_by_ns = time.monotonic_ns() + int(self.spec.shutdown_timeout_s * 1e9)
        self._send(signal.SIGTERM)

    def kill(self, why: Exit | None = None) -> None:
        """SIGKILL, to the whole group; nothing softer acts on a stopped process. `why` becomes its exit."""
        self.killed_for = self.killed_for or why
        self._send(signal.SIGKILL)
        self._kill_group()

    def _send(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # dead: its pidfd says so

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)  # not yet reaped, so this id can be no other group's
        except (ProcessLookupError, PermissionError):
            pass

    def reap(self) -> Exit:
        """Wait for its death (at once if the pidfd is readable) and say how it ended."""
        self._kill_group()
        code = self.code = self._popen.wait()
        os.close(self.pidfd)
        vitals = self._attach()
        said = vitals.status if vitals is not None and vitals.state is State.FAILED else ""
        if not said and code > 0 and self._said is not None:
            said = self._said.last_line()
        if vitals is not None:
            vitals.close()
        if self.killed_for is not None and code == -signal.SIGKILL:
            return self.killed_for
        return _exit_of(code, redact(said))


class Said(NamedTuple):
    """What a child wrote to stdout and stderr: a file, from `begin` on."""

    path: Path
    begin: int

    def last_line(self) -> str:
        """Mostly why it died; "" if it wrote nothing, or is not to be read."""
        try:
            with open(self.path, "rb") as file:
                file.seek(max(self.begin, file.seek(0, os.SEEK_END) - LAST_LINE_BYTES_MAX))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _open_output(log_dir: Path, name: str) -> int:
    path = log_dir / (name + OUTPUT_SUFFIX)
    if path.exists() and path.stat().st_size > OUTPUT_BYTES_MAX:
        path.replace(path.with_suffix(OUTPUT_SUFFIX + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _exit_of(code: int, said: str) -> Exit:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)  # a real-time signal
        return Exit(ExitKind.SIGNAL, f"killed by {name}" + (f": {said}" if said else ""))
    kind = ExitKind.NORMAL if code == 0 else ExitKind.ERROR
    return Exit(kind, f"exit code {code}" + (f": {said}" if said else ""))


def _environment(spec: ChildSpec, runtime_dir: Path, last_exit: str) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in NOTIFY_VARIABLES}
    environment.update(spec.env)
    environment.update(SUPERVISOR_PID=str(os.getpid()), RUNTIME_DIR=str(runtime_dir), CHILD_NAME=spec.name,
                       CHILD_LAST_EXIT=last_exit.replace("\0", ""))
    return environment
