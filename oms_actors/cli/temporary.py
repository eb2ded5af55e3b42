"""A desk that lives only as long as its user: a temporary instance with a temporary data folder.

The desk runs in a process of its own, in a session of its own (a Ctrl-C reaches only the user, who then ends it in
order). It removes its data itself when it ends, and it ends when its user dies.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from oms_actors import instance as places
from oms_actors.cli.output import Failed
from oms_actors.config import Config
from oms_actors.errors import DeskDown
from oms_actors.upstream import Upstream
from supervisor import published

START_TIMEOUT_S, STOP_TIMEOUT_S = 30.0, 20.0
RESTARTS_AT_START_MAX = 2


class TemporaryDesk:
    """`with TemporaryDesk("demo", config) as desk:` a running desk; Failed with its last words if it does not start."""

    def __init__(self, kind: str, config: Config) -> None:
        self.instance = f"{kind}-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"oms-{kind}-"))
        self.data_dir = self.folder / self.instance
        self.runtime = places.runtime_dir(self.instance)
        self._config = msgspec.structs.replace(
            config, desk=msgspec.structs.replace(config.desk, data_dir=str(self.folder))
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        question = json.dumps({"instance": self.instance, "config": msgspec.to_builtins(self._config)}).encode()
        with open(self.folder / "desk.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(self.folder), str(os.getpid())], stdin=subprocess.PIPE,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        if self._process.stdin:
            self._process.stdin.write(question)
            self._process.stdin.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"the desk did not start: {self.last_words()}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        """Failed where a process fails to start again and again: another try would not help."""
        found = published.read(self.runtime)
        if found is None or not found.alive:
            return False
        if any(child["restarts"] > RESTARTS_AT_START_MAX for child in found.document["children"]):
            raise Failed(f"the desk did not start: {self.last_words()}")
        return found.state == "up"

    def last_words(self) -> str:
        """The end of what the desk has said."""
        try:
            lines = (self.folder / "desk.log").read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-3:]) or "it said nothing"

    def attach(self, name: str) -> Upstream:
        """An upstream of this desk. Raises DeskDown."""
        return Upstream.attach(self.instance, name, timeout=START_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """The supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def require_alive(self) -> None:
        """DeskDown with its last words if it has ended."""
        if not self.alive:
            raise DeskDown(f"the desk has ended: {self.last_words()}")

    def stop(self) -> None:
        """Ends it in order (killed where that takes too long), and leaves nothing behind."""
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shutil.rmtree(self.runtime, ignore_errors=True)  # where it could not do so itself
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()


def main() -> None:
    """The desk's own process: folder and parent's pid as arguments, the configuration on stdin."""
    from ipc.proc import set_pdeathsig
    from oms_actors import app

    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    try:
        set_pdeathsig(signal.SIGTERM, parent)
        question = json.load(sys.stdin)
        config = msgspec.convert(question["config"], Config)
        resolved = app.resolve(config, question["instance"], str(folder))
        code = app.run(resolved)
    finally:
        if os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
