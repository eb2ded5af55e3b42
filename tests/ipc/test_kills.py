"""200 kills of each kind of victim, per channel, at random instants: nobody else notices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "bench" / "kills.py"
KILLS = 200


@pytest.mark.process
@pytest.mark.parametrize("channel", ["ring", "mailbox"])
def test_kills_of_readers_and_writers_wedge_lose_and_tear_nothing(channel: str) -> None:
    command = [sys.executable, str(PROGRAM), "--channel", channel, "--kills", str(KILLS), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    results = json.loads(ended.stdout)
    assert {(r["victim"], r["mode"]): r["faults"] for r in results} == {
        (victim, mode): [] for victim in ("writer", "reader") for mode in ("idle", "busy")
    }
    assert all(r["kills"] == KILLS for r in results)
    assert ended.returncode == 0
