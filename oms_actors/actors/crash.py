"""The end of a process that failed: a report for people, the last words in its vitals, its own exit code.

Python would rather let a process live on without its actor: an exception in a thread ends only that thread, and
SystemExit there ends nothing. So every failure comes here, and here ends in `os._exit`; the supervisor decides.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn

from ipc.vitals import Vitals
from oms_actors.actors.logs import last_lines, redact

REPORTS_MAX = 100
_TRACEBACK_CHARS_MAX = 32_768
_FAULTS = (signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL)
"""Of these faulthandler says where they came."""
_OWN_REPORT_S = 60.0  # an older one under this pid is of another process


class ExitCode(IntEnum):
    """How an actor's process ended. A SystemExit in the actor keeps the code it carries. Never renumbered."""

    ORDERLY = 0
    START = 20
    """The role could not be constructed or started."""
    WORK = 21
    COMMAND = 22
    INBOX = 23
    """The role's `ready` or `next_due_ns`, or its shared memory."""
    STOP = 24
    THREAD = 25
    """A thread of the process ended by an exception, or the actor's thread without one."""
    ALREADY_RUNNING = 26
    PARENT_GONE = 27
    RESOURCES = 28
    """No space, no descriptors, another layout, an unsupported machine: refused by name at start."""


class Crash:
    """Ends the process. `vitals` and `lines` are filled in as they come into being."""

    def __init__(self, role: str, folder: Path) -> None:
        self.role = role
        self.folder = folder
        self.vitals: Vitals | None = None
        self.lines: Sequence[str] = ()
        self._once = threading.Lock()

    def die(self, code: int, doing: str, error: BaseException | None = None) -> NoReturn:
        """`doing` completes "failed while ...". Never returns, whatever goes wrong here."""
        if not self._once.acquire(blocking=False):
            threading.Event().wait()  # another thread is already at it: one end, one reason
        try:
            code = _own_code(error) or code
            reason = redact(f"{doing}: {_named(error)}" if error else doing)
            if self.vitals is not None:
                self.vitals.failed(code, reason)
            self._write(code, reason, error)
            print(f"{self.role}[{os.getpid()}] {reason}", file=sys.stderr, flush=True)
            logging.shutdown()
        finally:
            os._exit(code)

    def guard(self, code: int, doing: str) -> Guarded:
        return Guarded(self, code, doing)

    def catch_all(self) -> None:
        """Every exception that nobody catches, in whatever thread, ends the process."""
        sys.excepthook = lambda kind, error, trace: self.die(ExitCode.THREAD, "running the main thread", error)
        threading.excepthook = self._thread_died

    def _thread_died(self, failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "?"
        self.die(ExitCode.THREAD, f"running thread {name}", failure.exc_value)

    def _write(self, code: int, reason: str, error: BaseException | None) -> None:
        trace = redact("".join(traceback.format_exception(error)))[-_TRACEBACK_CHARS_MAX:] if error else ""
        report = _report(self.role, os.getpid(), code, reason, trace, list(self.lines))
        try:
            _save(self.folder, report)
        except OSError as failure:  # a full disk must not hide the reason
            print(f"no crash report: {failure}\n{json.dumps(report)}", file=sys.stderr, flush=True)


def _report(role: str, pid: int, code: int, reason: str, trace: str, lines: list[str]) -> dict[str, Any]:
    return {
        "role": role,
        "pid": pid,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "exit_code": code,
        "reason": reason,
        "traceback": trace,
        "log": lines,
    }


def _save(folder: Path, report: dict[str, Any]) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report['role']}-{stamp}-{report['pid']}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1))
    temporary.replace(path)
    for old in sorted(folder.glob(f"{report['role']}-*.json"))[:-REPORTS_MAX]:
        old.unlink(missing_ok=True)


def report_for(role: str, pid: int, code: int, reason: str, folder: Path, logs: Path) -> None:
    """The report of a process that could write none: killed, by whom ever. Its last words are in the files of `logs`.

    Nothing if it did write one. Raises OSError.
    """
    written = (path.stat().st_mtime for path in folder.glob(f"{role}-*-{pid}.json"))
    if any(time.time() - at < _OWN_REPORT_S for at in written):
        return
    output, where, trace = last_lines(logs / f"{role}.out"), "", ""
    if -code in _FAULTS:
        output, dump = _split_dump(output)
        where = _where(dump)
        trace = "\n".join(dump)
    lines = last_lines(logs / f"{role}.jsonl") or output
    _save(folder, _report(role, pid, code, redact(reason) + where, trace, lines))


def _split_dump(output: list[str]) -> tuple[list[str], list[str]]:
    """What faulthandler wrote at the end, apart from what came before."""
    begins = [at for at, line in enumerate(output) if line.startswith("Fatal Python error")]
    at = begins[-1] if begins else len(output)
    return output[:at], output[at:]


def _where(dump: list[str]) -> str:
    """The line of Python in which the fault came, as the end of a sentence."""
    current = next((at for at, line in enumerate(dump) if line.startswith("Current thread")), len(dump))
    frame = next((line.strip() for line in dump[current:] if line.startswith("  File ")), "")
    return f" in {frame}" if frame else ""


class Guarded:
    """`with` block (reusable) out of which no exception gets: it ends the process. Cheaper than a generator."""

    __slots__ = ("_code", "_crash", "_doing")

    def __init__(self, crash: Crash, code: int, doing: str) -> None:
        self._crash, self._code, self._doing = crash, code, doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if error is not None:
            self._crash.die(self._code, self._doing, error)
        return False


def _own_code(error: BaseException | None) -> int:
    """The code that a SystemExit asks for; 0 for none: ending the process so is never an orderly end."""
    code = error.code if isinstance(error, SystemExit) else 0
    return code if isinstance(code, int) and 0 < code < 256 else 0


def _named(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def last_report(folder: Path, role: str) -> dict[str, Any] | None:
    """The newest crash report of a role, or None."""
    for path in sorted(folder.glob(f"{role}-*.json"), reverse=True):
        try:
            report: dict[str, Any] = json.loads(path.read_text())
            return report
        except (OSError, ValueError):
            continue
    return None
