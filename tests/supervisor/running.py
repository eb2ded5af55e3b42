"""A real supervisor as a process of its own, watched from outside through what it publishes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor import published

CHILD = str(Path(__file__).with_name("child.py"))
ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0  # for what must come at all; bounds that are promised are asserted where they are promised


def table(name: str, argv: list[str] | None = None, child: str = "", **fields: Any) -> str:
    """One `[[children]]` table. `child` is what child.py is told."""
    argv = argv or [sys.executable, "-S", "-E", CHILD, *child.split()]
    lines = {"name": name, "argv": argv, "heartbeat_timeout_ms": 500} | fields
    return "[[children]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


def wait_for(condition: Callable[[], Any], why: str, wait_s: float = WAIT_S) -> Any:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited {wait_s} s for {why}")


class Instance:
    """`python -m supervisor` over a spec made of `tables` (see `table`) in its own directory."""

    def __init__(self, directory: Path, *tables: str, **spec: Any) -> None:
        head = {"backoff_initial_ms": 10} | spec
        self.directory = directory
        self.runtime = directory / "run"
        self.log = directory / "supervisor.log"
        self.spec = directory / "spec.toml"
        self.spec.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in head.items()) + "".join(tables))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, **popen: Any) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "supervisor", str(self.spec), "--runtime-dir", str(self.runtime),
                "--log-dir", str(self.directory / "logs"), "--log-file", str(self.log)]
        process = subprocess.Popen(argv, cwd=ROOT, **popen)
        self.processes.append(process)
        return process

    def up(self) -> Instance:
        self.start()
        self.wait(lambda document: document["state"] == "up", "up")
        return self

    @property
    def document(self) -> dict[str, Any]:
        found = published.read(self.runtime)
        return found.document if found else {"state": "", "children": [], "events": []}

    def wait(self, condition: Callable[[dict[str, Any]], Any], why: str) -> dict[str, Any]:
        """The document, once it is of the present supervisor and `condition` holds."""
        def look() -> dict[str, Any] | None:
            found = published.read(self.runtime)
            ours = found and self.processes and found.document["pid"] == self.processes[-1].pid
            return found.document if found and ours and condition(found.document) else None

        try:
            return dict(wait_for(look, why))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.document, indent=1)}") from None

    def child(self, name: str) -> dict[str, Any]:
        return next(dict(child) for child in self.document["children"] if child["name"] == name)

    def pids(self) -> dict[str, int]:
        return {child["name"]: child["pid"] for child in self.document["children"]}

    def kill(self, name: str, number: int = signal.SIGUSR1) -> int:
        pid = int(self.child(name)["pid"])
        os.kill(pid, number)
        return pid

    def back(self, name: str, former_pid: int) -> dict[str, Any]:
        """The child's document once a successor of `former_pid` runs and all is up."""
        def is_back(document: dict[str, Any]) -> bool:
            pids = {child["name"]: child["pid"] for child in document["children"]}
            return document["state"] == "up" and pids[name] not in (None, former_pid)

        self.wait(is_back, f"{name} to be back")
        return self.child(name)

    def ended(self) -> int:
        """The exit code."""
        return self.processes[-1].wait(WAIT_S)

    def stop(self) -> int:
        self.processes[-1].send_signal(signal.SIGTERM)
        return self.ended()

    def happened(self, *whats: str) -> list[str]:
        """The events of these kinds, as "child what", in order."""
        return [f"{event['child']} {event['what']}" for event in self.document["events"] if event["what"] in whats]

    def clean_up(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        fds = [open_pidfd(pid) for pid in self.pids().values() if pid]
        assert all(gone(fd, WAIT_S) for fd in fds if fd is not None), "children left behind"


def open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def gone(pidfd: int | None, wait_s: float) -> bool:
    """Whether the process dies within `wait_s`. Closes the descriptor."""
    if pidfd is None:
        return True
    try:
        return bool(select.select([pidfd], [], [], wait_s)[0])
    finally:
        os.close(pidfd)
