"""Upstreams in C and in Python at the same time: whoever dies, is deaf, writes garbage or scribbles disturbs nobody."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oms_actors.messages import ExecType
from tests.intake.desk import Desk, until
from tests.intake.makers import new
from tests.support.c_programs import FLOOD, build, needs_gcc

pytestmark = [pytest.mark.process, needs_gcc]


@pytest.fixture
def flood(make_desk: Callable[..., Desk], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a C upstream of that name that submits without end."""
    program = build(FLOOD, tmp_path)
    running: list[subprocess.Popen[bytes]] = []

    def start(desk: Desk, name: str, *options: str) -> subprocess.Popen[bytes]:
        running.append(subprocess.Popen([program, str(desk.runtime), name, *options]))
        until((desk.runtime / "upstreams" / f"{name}.up").exists)
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def numbers_of(desk: Desk, program: subprocess.Popen[bytes]) -> list[int]:
    """The numbers in the ids of what the sender has seen of that program."""
    mark = f"{program.pid}-".encode()
    ids = (record[96:132].rstrip(b"\0") for record in desk.sender.seen)
    return [int(text[len(mark) :]) for text in ids if text.startswith(mark)]


def test_c_and_python_upstreams_write_at_once_and_each_gets_its_share(
    make_desk: Callable[..., Desk], flood: Callable[..., subprocess.Popen[bytes]]
) -> None:
    desk = make_desk(segment_bytes=8 << 20)
    desk.step()
    hearing, mortal = flood(desk, "hearing"), flood(desk, "mortal")
    flood(desk, "deaf", "deaf")
    python, garbage, mad = desk.upstream("python"), desk.upstream("garbage"), desk.upstream("mad")
    until(lambda: desk.step() or all(len(numbers_of(desk, p)) > 100 for p in (hearing, mortal)))
    for round_ in range(20):
        python.submit(new(f"p-{round_}"))
        garbage._client.requests.try_put(b"\xff" * (100 + round_))
        if round_ == 10:
            mad._client.requests._words[8] = 12345  # its tail
            mortal.kill()
            mortal.wait()
        cycles = 0
        heard = set()
        while not {ExecType.PENDING_NEW, ExecType.NEW} <= heard:
            desk.step()
            heard |= {report.exec_type for report in python.reports()}
            cycles += 1
            assert cycles < 10, "three that flood leave the fourth no turn"
    for program in (hearing, mortal):
        numbers = numbers_of(desk, program)
        assert numbers == list(range(1, len(numbers) + 1)), "a frame was lost, torn or read twice"
    desk.intake._tick_ns = 0  # the page is brought up to date in a tick
    desk.step()
    assert desk.intake.page["parked"] == 1
    assert desk.intake.page["malformed"] >= 20
    again = flood(desk, "mortal")
    until(lambda: desk.step() or numbers_of(desk, again)[:1] == [1])
