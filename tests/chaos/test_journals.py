"""The journals, read by others while a desk writes them, and folded again and again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from chaos.desk import Desk
from chaos.flow import Flow
from chaos.run import Run, config

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def lines(run: Run, *arguments: str, hash_seed: str = "0") -> list[str]:
    """What a command says, line by line (few enough for a pipe), while the flow goes on."""
    command = [sys.executable, "-m", "oms_actors.cli", *arguments, "--json"]
    environment = {**run.desk.environment, "PYTHONHASHSEED": hash_seed}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        run.until("the end of a command", lambda: process.poll() is not None)
        out, _ = process.communicate()
    assert process.returncode == 0
    return out.splitlines()


def test_journals_are_read_while_they_are_written_and_replay_to_one_state() -> None:
    with Desk(config()) as desk:
        run = Run(desk, Flow("up", 1_000.0, 1))
        run.until_up()
        run.until("some records", lambda: desk.counter("sender", "fills") > 2_000)
        for _ in range(3):
            before = desk.counter("sender", "frames")
            assert json.loads(lines(run, "journal", "verify", "--instance", "chaos")[-1])["ok"]
            assert json.loads(lines(run, "journal", "stat", "sender", "--instance", "chaos")[-1])["segments"]
            assert len(lines(run, "journal", "cat", "sender", "--instance", "chaos", "--limit", "5")) == 5
            assert desk.counter("sender", "frames") > before
        desk.kill("sender")
        run.until_up()
        run.judge()
        ways = (("1",), ("2",), ("3", "--snapshot"))  # fresh interpreters, whatever they hash to
        said = [lines(run, "replay", str(desk.data), *more, hash_seed=seed)[-1] for seed, *more in ways]
        assert len({json.loads(line)["hash"] for line in said}) == 1
