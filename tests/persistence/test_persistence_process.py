"""The real process, really killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc.errors import IpcError, NotThere
from ipc.page import Page
from ipc.vitals import State, Vitals
from oms_actors.config import Config, PersistenceConfig, Resolved
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from tests.persistence.compare import assert_same
from tests.persistence.naive import tables
from tests.support.journals import Script, mixed_day, open_script
from tests.support.roles import resolve

pytestmark = pytest.mark.process

RUN = "from oms_actors.actors.persistence import run; run()"
DIE = """
import os, signal
from oms_actors.edges.store import Store
commit, left = Store.commit, {nth}
def dying(self, rows, places):
    global left
    left -= 1
    if {after} or left:
        commit(self, rows, places)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
Store.commit = dying
"""


class Desk:
    """Journals written here, a persistence process beside."""

    def __init__(self, folder: Path) -> None:
        self.resolved: Resolved = resolve(folder, Config(persistence=PersistenceConfig(batch_records=200)))
        marks = {role: journals.mark(self.resolved, role) for role in ("intake", "sender")}
        self.script: Script = open_script(
            journals.folder(self.resolved), boot=journals.boot_word(), marks=marks,  # type: ignore[arg-type]
        )  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, code: str = RUN) -> subprocess.Popen[bytes]:
        runtime = Path(self.resolved.runtime_dir)
        (runtime / "persistence.page").unlink(missing_ok=True)
        environment = os.environ | {"RUNTIME_DIR": str(runtime)}
        environment.pop("SUPERVISOR_PID", None)
        self.process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def page(self) -> dict[str, int]:
        try:
            page = Page.attach(str(Path(self.resolved.runtime_dir) / "persistence.page"))
        except IpcError:
            return {}
        try:
            return page.counters()
        finally:
            page.close()

    def wait_until_ready(self) -> None:
        """Before that a signal ends it as it ends any program."""
        deadline = time.monotonic() + 60
        while True:
            try:
                vitals = Vitals.attach(Path(self.resolved.runtime_dir) / "persistence.vitals")
            except NotThere:
                pass
            else:
                ready = vitals.pid == self.process.pid and vitals.state == State.READY  # type: ignore[union-attr]
                vitals.close()
                if ready:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def wait_until(self, counter: str, value: int) -> None:
        deadline = time.monotonic() + 60
        while self.page().get(counter, 0) < value:
            assert time.monotonic() < deadline, f"{counter} {self.page()}"
            assert self.process is not None
            assert self.process.poll() is None
            time.sleep(0.002)

    def assert_complete(self) -> None:
        """The process ends in order, and so takes in what is left."""
        assert self.process is not None
        self.wait_until_ready()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert_same(Path(self.resolved.data_dir) / "oms.sqlite", tables(OsDisk(journals.folder(self.resolved))))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.kill()


@pytest.mark.parametrize("after", [False, True])
def test_killed_right_before_and_after_a_commit_every_row_is_there_once(desk: Desk, after: bool) -> None:
    mixed_day(desk.script, 600, 1)
    for nth in (1, 3):
        process = desk.start(DIE.format(nth=nth, after=after) + RUN)
        assert process.wait(60) == -signal.SIGKILL
    desk.start()
    desk.wait_until("commits", 1)
    desk.assert_complete()


def test_killed_at_random_moments_while_orders_flow_every_row_is_there_once(desk: Desk) -> None:
    rng = random.Random(5)
    for round_ in range(5):
        desk.start()
        for _ in range(rng.randint(1, 4)):
            mixed_day(desk.script, 300, rng.randint(0, 10**6))
            desk.wait_until("commits", rng.randint(0, 1))
        if round_ < 4:
            desk.kill()
    desk.assert_complete()
