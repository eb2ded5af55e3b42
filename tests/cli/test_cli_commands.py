"""The command line as a whole: help, exit codes, and errors that are one line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from oms_actors.cli import output
from oms_actors.cli.main import app, hoisted
from oms_actors.messages import Request
from oms_actors.record import encode
from oms_actors.version import __version__

if TYPE_CHECKING:
    from tests.cli.conftest import Oms


def leaves(group: typer.Typer, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command as the words that call it."""
    names = [command.name or getattr(command.callback, "__name__", "") for command in group.registered_commands]
    found = [(*words, name) for name in names]
    for sub in group.registered_groups:
        if sub.typer_instance is not None:
            found += leaves(sub.typer_instance, (*words, str(sub.name)))
    return found


def test_help_names_every_command_with_a_sentence(oms: Oms) -> None:
    ended = oms("--help")
    assert ended.code == 0
    for command in leaves(app):
        assert f" {command[0]} " in ended.out


def test_the_version_is_told(oms: Oms) -> None:
    assert oms("--version").out.strip() == __version__


@pytest.mark.parametrize("command", leaves(app), ids=" ".join)
def test_every_command_has_help(oms: Oms, command: tuple[str, ...]) -> None:
    ended = oms(*(word.replace("_", "-") for word in command), "--help")
    assert ended.code == 0
    assert "Usage:" in ended.out
    assert "--json" in ended.out


def test_help_imports_nothing_heavy() -> None:
    heavy = "rich.table msgspec sqlite3 holidays psutil pykka faster_fifo sqlalchemy supervisor.supervisor"
    program = (
        "import sys; from oms_actors.cli.main import app\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("statsu",), "No such command 'statsu'"),
        (("status", "--wrong"), "No such option: --wrong"),
        (("send",), "Missing argument"),
        (("order",), "a command is missing"),
        (("demo", "--rate", "x"), "Invalid value for '--rate'"),
        (("order", "new", "AAPL", "BUY"), "Missing argument 'quantity'"),
        (("order", "new", "AAPL", "BUY", "1", "--tfi", "DAY"), "No such option: --tfi"),
        (("order", "new", "AAPL", "BUY", "-5", "1"), "quantity: '-5': must be greater than zero"),
        (("order", "new", "AAPL", "BUY", "5", "-.1"), "price: '-.1': must be greater than zero"),
        (("order", "new", "AAPL", "BUY", "1_000", "1"), "quantity: '1_000': must be a decimal number"),
        (("order", "modify", "A", "--quantity", "-5"), "quantity: '-5': must be greater than zero"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong_to_people_and_machines(
    oms: Oms, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setattr("oms_actors.cli.send.attach", lambda *_: contextlib.nullcontext(NobodyThere()))
    ended = oms(*arguments)
    assert ended.code == 2
    assert problem in ended.err
    ended = oms(*arguments, "--json")
    assert ended.code == 2
    assert problem in ended.document["error"]
    assert ended.document["problems"]


class NobodyThere:
    """An upstream of a desk that does not exist."""

    def submit(self, request: Request, timeout: float) -> None:
        encode(request)
        raise AssertionError(f"{request} should have been refused")


def test_an_interrupted_command_has_failed(oms: Oms, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oms_actors.status.snapshot", interrupted)
    ended = oms("status", "--json")
    assert (ended.code, ended.document["error"]) == (1, "interrupted")


@pytest.mark.parametrize("arguments", [("status",), ("stop",), ("order", "new", "AAPL", "BUY", "1", "2")])
def test_without_a_desk_a_command_says_in_one_line_what_to_do(oms: Oms, arguments: tuple[str, ...]) -> None:
    ended = oms(*arguments)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "no desk runs as 'default'" in ended.err


def test_an_error_is_also_an_object_for_machines(oms: Oms) -> None:
    ended = oms("status", "--instance", "nobody", "--json")
    assert ended.code == 1
    assert "nobody" in ended.document["error"]


def test_a_bad_instance_name_is_a_usage_error(oms: Oms) -> None:
    ended = oms("status", "--instance", "../etc")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)


def test_a_bad_configuration_keeps_the_desk_from_running_and_names_every_problem(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text("[throttle]\nrate = 0\n[queue]\ncapacity = 'x'\n")
    ended = oms("run")
    assert ended.code == 2
    assert "throttle.rate" in ended.err
    assert "queue.capacity" in ended.err
    assert not (tmp_path / "oms-data").exists()


def test_a_bug_is_one_line_and_shows_its_trace_only_on_request(
    oms: Oms, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("oms_actors.status.snapshot", broken)
    ended = oms("status")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "ZeroDivisionError" in ended.err
    monkeypatch.setenv("OMS_TRACEBACK", "1")
    assert "Traceback" in oms("status").err


def test_shared_options_may_come_before_the_command() -> None:
    assert hoisted(["--instance", "x", "--json", "status"]) == ["status", "--instance", "x", "--json"]
    assert hoisted(["-i", "x", "order", "new", "--", "-1"]) == ["order", "new", "-i", "x", "--", "-1"]
    assert hoisted(["status", "--instance", "x"]) == ["status", "--instance", "x"]


def test_whoever_reads_only_the_beginning_causes_no_complaint(tmp_path: Path) -> None:
    command = f"{sys.executable} -m oms_actors.cli check | head -1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, timeout=60,
                           env={**os.environ, "OMS_CONFIG": ""})  # fmt: skip
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (True, "yes"), (1234567, "1,234,567"), (1.25, "1.2"), ("x", "x")]
)
def test_cells_are_written_for_people(value: object, text: str) -> None:
    assert output.cell(value) == text


def test_bytes_are_written_for_people() -> None:
    assert [output.size(n) for n in (None, 10, 2048, 3 << 20)] == ["-", "10 B", "2.0 KiB", "3.0 MiB"]
