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


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "oms_actors.cli", *arguments, "--json"]


def lines(run: Run, *arguments: str) -> list[str]:
    """What a command says, line by line (few enough for a pipe), while the flow goes on."""
    with subprocess.Popen(
        command(*arguments), env=run.desk.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        run.until("the end of a command", lambda: process.poll() is not None)
        out, _ = process.communicate()
    assert process.returncode == 0
    return out.splitlines()


def state(desk: Desk, hash_seed: str, *arguments: str) -> str:
    """What a fresh interpreter, whatever it hashes to, says of a replay of a desk that has stopped."""
    environment = {**desk.environment, "PYTHONHASHSEED": hash_seed}
    replay = command("replay", str(desk.data), *arguments)
    done = subprocess.run(replay, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return str(json.loads(done.stdout.splitlines()[-1])["hash"])


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
        desk.stop()  # a living one notes now and then how far its upstreams have read
        assert len({state(desk, "1"), state(desk, "2"), state(desk, "3", "--snapshot")}) == 1
