"""Who is killed writes no crash report: it is written for him, from what is in his log."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from oms_actors.actors.crash import last_report, report_for
from oms_actors.actors.logs import LAST_LINES

JSON_LINE = {"time": "2026-11-20T10:00:00.123", "level": "INFO", "role": "sender", "pid": 77, "logger": "sender",
             "message": "logon password=hunter2"}  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def lines_of(tmp_path: Path) -> list[str]:
    report = last_report(tmp_path / "crash", "sender")
    assert report is not None
    assert (report["role"], report["pid"], report["exit_code"], report["traceback"]) == ("sender", 77, -9, "")
    assert report["reason"] == "no heartbeat for 1.2 s"
    lines: list[str] = report["log"]
    return lines


def write(tmp_path: Path) -> None:
    report_for("sender", 77, -9, "no heartbeat for 1.2 s", tmp_path / "crash", tmp_path / "logs")


def test_it_has_the_last_lines_of_a_json_log(tmp_path: Path, logs: Path) -> None:
    (logs / "sender.jsonl").write_text(100 * (json.dumps(JSON_LINE) + "\n") + '{"half of a li')
    write(tmp_path)
    *lines, half = lines_of(tmp_path)
    assert len(lines) == LAST_LINES - 1
    assert set(lines) == {"2026-11-20T10:00:00.123 INFO sender[77] sender: logon password=***"}
    assert half == '{"half of a li'


def test_without_a_json_log_it_has_the_last_lines_of_the_output(tmp_path: Path, logs: Path) -> None:
    (logs / "sender.out").write_text("first\nsecond password=hunter2\n")
    write(tmp_path)
    assert lines_of(tmp_path) == ["first", "second password=***"]


DUMP = """Fatal Python error: Segmentation fault

Thread 0x00007ff37fad06c0 (most recent call first):
  File "wait.py", line 166 in _futex_wait

Current thread 0x00007ff380fc3b80 (most recent call first):
  File "adapter.py", line 82 in send
  File "sender.py", line 9 in work
"""


def test_a_fault_has_its_place_in_the_reason_and_its_dump_apart_from_the_log(tmp_path: Path, logs: Path) -> None:
    (logs / "sender.out").write_text("first\n" + DUMP)
    report_for("sender", 77, -signal.SIGSEGV, "killed by SIGSEGV", tmp_path / "crash", logs)
    report = last_report(tmp_path / "crash", "sender")
    assert report is not None
    assert report["reason"] == 'killed by SIGSEGV in File "adapter.py", line 82 in send'
    assert report["log"] == ["first"]
    assert report["traceback"] == DUMP.strip()


def test_a_former_fault_is_no_reason_of_a_later_death(tmp_path: Path, logs: Path) -> None:
    (logs / "sender.out").write_text(DUMP + "last\n")
    write(tmp_path)
    assert lines_of(tmp_path)[-1] == "last"


def test_without_any_log_it_has_the_reason(tmp_path: Path, logs: Path) -> None:
    write(tmp_path)
    assert lines_of(tmp_path) == []


def test_a_report_of_its_own_is_enough(tmp_path: Path) -> None:
    (tmp_path / "crash").mkdir()
    own = tmp_path / "crash" / "sender-20261120T100000Z-77.json"
    own.write_text("{}")
    write(tmp_path)
    assert list((tmp_path / "crash").iterdir()) == [own]
    long_ago = time.time() - 3600
    os.utime(own, (long_ago, long_ago))  # another process had this pid
    write(tmp_path)
    assert len(list((tmp_path / "crash").iterdir())) == 2
