"""A call of the exchange that does not come back: the others go on, and in the end it is given up, in doubt."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chaos.desk import Desk
from chaos.flow import Flow
from chaos.run import Run, config
from chaos.slow import ADAPTER, calls_in

from oms_actors.config import Config, ExchangeConfig, VenueConfig

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def slow(folder: Path, call_timeout_ms: int) -> Config:
    exchange = ExchangeConfig(adapter=ADAPTER, options={"folder": str(folder)}, call_timeout_ms=call_timeout_ms)
    return msgspec.structs.replace(config(rate=1_000), exchange=exchange, venue=VenueConfig(enabled=False))


def oms(desk: Desk, *arguments: str) -> Any:
    """What the command line answers, as a program reads it."""
    command = [sys.executable, "-m", "oms_actors.cli", *arguments, "--instance", "chaos", "--json"]
    done = subprocess.run(command, env=desk.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def growth(count: Callable[[], int], by: int) -> Callable[[], bool]:
    """Has it grown by so much since now?"""
    before = count()
    return lambda: count() >= before + by


def test_while_a_call_blocks_the_others_go_on_and_status_and_kill_switch_answer(tmp_path: Path) -> None:
    with Desk(slow(tmp_path, call_timeout_ms=60_000)) as desk:
        flow = Flow("up", 200.0, 1)
        run = Run(desk, flow)
        run.until("a steady flow", lambda: len(calls_in(tmp_path)) > 20 > len(flow.open))
        (tmp_path / "block").touch()
        run.until("a call that does not return", lambda: "sender is in a call since" in str(oms(desk, "status")))
        run.until("requests to be accepted", growth(lambda: len(flow.accepted), 100))
        run.until("rows", growth(lambda: desk.query("SELECT count(*) FROM requests")[0][0], 100))
        oms(desk, "kill")
        called = len(calls_in(tmp_path, but="CANCEL"))
        (tmp_path / "block").unlink()
        run.go_on(1.0)
        assert len(calls_in(tmp_path, but="CANCEL")) == called
        oms(desk, "resume")
        flow.flowing = False
        run.until("final answers", flow.is_settled)
        calls = calls_in(tmp_path)
        assert len(set(calls)) == len(calls) > called


def test_a_call_beyond_its_limit_ends_the_sender_and_what_it_had_called_is_never_called_again(tmp_path: Path) -> None:
    with Desk(slow(tmp_path, call_timeout_ms=1_000)) as desk:
        flow = Flow("up", 200.0, 1, changes=0.0)  # a cancel that is answered would end the doubt about its order
        run = Run(desk, flow)
        run.until("a steady flow", lambda: len(calls_in(tmp_path)) > 20 > len(flow.open))
        before = desk.pids()["sender"]
        (tmp_path / "block").touch()
        run.until("a new sender", lambda: desk.pids().get("sender", before) != before)
        (tmp_path / "block").unlink()
        run.until_up()
        run.until("calls", growth(lambda: len(calls_in(tmp_path)), 20))
        flow.flowing = False
        run.until("the doubt to be shown", lambda: desk.counter("sender", "in_doubt") > 0)
        run.go_on(1.0)
        called = set(calls_in(tmp_path))
        doubtful = [name for own in flow.open if (name := own.rstrip(b"\0").decode()) in called]
        assert doubtful
        for name in doubtful:
            oms(desk, "resolve", name, "--sent")
        run.until("the last answer", flow.is_settled)
        calls = calls_in(tmp_path)
        assert len(set(calls)) == len(calls)
