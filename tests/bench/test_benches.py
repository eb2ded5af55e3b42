"""Every bench runs, tiny, and checks its own answer; what it measures is no test's business."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import (
    goals,
    machine,
    peers_throughput,
    persistence_rows,
    report,
    ring_roundtrip,
    ring_throughput,
    rows,
)
from bench.links import Link, Ring
from bench.load import Load
from bench.markdown import markdown, replaced
from bench.measure import Finding, Options, WrongAnswer
from bench.page import html
from bench.rig import rig
from bench.suite import NAMES, SUITE, Bench, chosen
from oms_actors.cli.main import run
from oms_actors.config import Config, DeskConfig
from tests.support.roles import resolve

PR_GET_TIMERSLACK = 30
HOST = {
    "cpu": "a <quick> one", "cpus": 2, "memory_gib": 1, "kernel": "6", "python": "CPython 3", "sqlite": "3",
    "versions": {"pykka": "4"}, "commit": "abc", "fdatasync_us": 100.0, "busy_elsewhere": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """What the benches of this module have found so far."""
    return {}


@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_bench_runs_and_finds_its_answer_right(name: str, findings: dict[str, Finding], tmp_path: Path) -> None:
    (bench,) = chosen([name])
    found = findings[name] = bench.run(Options(tiny=True, folder=tmp_path))
    assert found.metrics
    assert found.checked
    assert json.loads(json.dumps(found.document()))["bench"] == found.bench


@pytest.mark.process
def test_the_goals_find_their_figures_in_what_the_benches_found(findings: dict[str, Finding]) -> None:
    if set(findings) != set(NAMES):
        pytest.skip("needs all benches of this module")
    assert [row["what"] for row in goals.table(findings) if row["measured"] is None] == []


@pytest.mark.process
def test_the_report_is_one_page_that_needs_nothing_else(findings: dict[str, Finding], tmp_path: Path) -> None:
    if "latency" not in findings:
        pytest.skip("needs the latency bench of this module")
    page = html(report.document(findings, HOST))
    assert page.count("<svg") >= 3
    assert "a &lt;quick&gt; one" in page
    assert not any(needed in page for needed in ("http:", "https:", "src=", "@import", "<link"))
    files = report.write_hlog(tmp_path, findings)
    assert files
    assert all("HIST" in file.read_text() for file in files)


def test_the_machine_itself_is_looked_at_between_the_benches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = iter((300.0, 200.0, 250.0))
    monkeypatch.setattr(machine, "piece_ns", lambda: next(pieces))
    monkeypatch.setattr(machine, "late_ns", lambda sleeps: 50_000)
    assert run(["bench", "mailbox", "journal", "--tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["name"] for each in found["benches"]] == ["machine", "mailbox", "journal"]
    assert found["benches"][0]["metrics"][0]["runs"] == [300.0, 200.0, 250.0]
    words = "between the benches (min – median – max): a fixed piece of Python 200 – 250 – 300 ns; a sleep of 1 ms"
    assert words in markdown(found)


def test_the_machine_takes_some_time_for_everything() -> None:
    found = machine.finding()
    machine.sample(found, sleeps=3)
    assert all(metric.best > 0 for metric in found.metrics.values())


def test_the_table_of_goals_goes_to_its_place_in_a_text() -> None:
    found = Finding("journal", "journal alone")
    found.add("process, 128 a frame", "records/s", 2_000_000)
    table = markdown(report.document({"journal": found}, HOST) | {"failed": {"idle": "wrong answer: it was busy"}})
    assert "| journal append, 128 a frame | 2,000,000 | 1,000,000 | 3,000,000 | records/s | floor |" in table
    assert "- idle: wrong answer: it was busy" in table
    text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"
    assert replaced(text, "new") == "before\n<!-- bench -->\n\nnew\n<!-- /bench -->\nafter\n"
    with pytest.raises(ValueError, match="there is no"):
        replaced("nothing", "new")


@pytest.mark.process
def test_stress_accounts_for_every_order_and_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "stress", "--tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [trial["rate"] for trial in found["stress"]["trials"]] == [500]
    assert {"sustained", "gives_way"} <= found["stress"].keys()


@pytest.mark.process
def test_the_command_compares_with_an_earlier_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["bench", "journal", "--tiny", "--json", "--html", str(tmp_path / "a.html")]) == 0
    earlier = tmp_path / "a.json"
    earlier.write_text(capsys.readouterr().out)
    assert run(["bench", "journal", "--tiny", "--json", "--compare", str(earlier)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    journal = [row["verdict"] for row in found["compared"] if row["bench"] == "journal"]
    assert journal
    assert set(journal) <= {"unsure", "same"}, "of a single run nobody knows the noise"
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_an_unknown_bench_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "nope"]) == 2
    assert "nope" in capsys.readouterr().err


def test_a_wrong_answer_ends_the_command_with_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(self: object, options: Options) -> Finding:
        raise WrongAnswer("one row is missing")

    monkeypatch.setattr(type(SUITE[0]), "run", wrong)
    assert run(["bench", "path", "--tiny"]) == 1
    assert "one row is missing" in capsys.readouterr().err
    assert run(["bench", "path", "--tiny", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == {"path": "wrong answer: one row is missing"}


def test_the_goals_of_a_bench_that_failed_are_shown_and_those_of_others_are_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(self: object, options: Options) -> Finding:
        raise WrongAnswer("one row is missing")

    monkeypatch.setattr(type(SUITE[0]), "run", wrong)
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["bench", "idle", "power", "--tiny"]) == 1
    rows = [line.strip() for line in capsys.readouterr().out.splitlines() if "not measured" in line]
    assert [row.partition("  ")[0] for row in rows] == ['the same, "power" against "process"', "idle desk"]


def test_all_names_run_in_the_order_of_the_suite() -> None:
    assert [bench.name for bench in chosen(["idle", "path"])] == ["path", "idle"]
    assert len(chosen([])) == len(SUITE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--html", "/proc/none/x.html"], "--html /proc/none/x.html: cannot be written"),
        (["--hlog", "/proc/none"], "--hlog /proc/none: cannot be written"),
        (["--compare", __file__], f"--compare {__file__}: is not what `oms bench --json` wrote"),
        (["--folder", "/none"], "'--folder': dir '/none' does not exist"),
        (["--duration", "inf"], "'--duration': Input should be less than or equal to 3600, not inf"),
        (["--runs", "0"], "'--runs': Input should be greater than or equal to 1, not 0"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(SUITE[0]), "run", lambda self, options: pytest.fail("it was measured"))
    assert run(["bench", "journal", "--tiny", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_bug_in_one_bench_takes_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, upstreams = (next(each for each in SUITE if each.name == name) for name in ("journal", "upstreams"))
    right = type(journal).run

    def broken(self: Bench, options: Options) -> Finding:
        if self is not upstreams:
            return right(self, options)
        raise RuntimeError("upstream up0 ended with -9")

    monkeypatch.setattr(type(journal), "run", broken)
    assert run(["bench", "upstreams", "journal", "--tiny", "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["failed"] == {"upstreams": "RuntimeError: upstream up0 ended with -9"}
    assert [each["name"] for each in found["benches"]] == ["machine", "journal"]


def test_ctrl_c_takes_nothing_from_the_benches_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    book, journal = (next(each for each in SUITE if each.name == name) for name in ("book", "journal"))
    right = type(journal).run

    def interrupted(self: Bench, options: Options) -> Finding:
        if self is journal:
            return right(self, options)
        assert self is book, "it goes on"
        raise KeyboardInterrupt

    monkeypatch.setattr(type(journal), "run", interrupted)
    assert run(["bench", "journal", "book", "venue", "--tiny", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == {"book": "interrupted"}
    assert [each["name"] for each in found["benches"]] == ["machine", "journal"]
    assert run(["bench", "journal", "book", "venue", "--tiny"]) == 1
    said = capsys.readouterr()
    assert "journal append, 128 a frame" in said.out
    assert said.err.endswith("oms: book: interrupted\n")
    assert run(["bench", "book", "venue", "--tiny"]) == 1
    assert capsys.readouterr().err.endswith("oms: interrupted\n")


@pytest.mark.process
def test_ctrl_c_ends_an_upstream_without_a_word(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        load = Load(made.resolved.instance, "up0", orders=1, frame=1, reports_per_order=1)
        load.ready()
        os.kill(load.pid, signal.SIGINT)
        with pytest.raises(RuntimeError, match=f"ended with -{signal.SIGINT:d}"):
            load.result()
    assert capfd.readouterr().err == ""


def test_the_ordinary_output_says_on_what_it_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "journal", "--tiny"]) == 0
    said = capsys.readouterr().err
    assert all(words in said for words in ("CPython", "SQLite", "pykka", "fdatasync", "record 192 bytes"))


def test_the_list_names_stress_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "list", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["benches"]] == [*NAMES, "stress"]


def test_stress_alone_is_stress_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("bench.stress.search", lambda *_: {"sustained": 1, "gives_way": None, "upstreams": 2,
                                                          "durability": "process", "trials": []})  # fmt: skip
    assert run(["bench", "stress", "stress", "--tiny", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["benches"]] == ["machine", "stress"]


def test_measuring_leaves_this_process_as_it_was(tmp_path: Path) -> None:
    def slack_ns() -> int:
        return ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)

    before = slack_ns()
    machine.late_ns(1)
    with rig(tmp_path):
        assert slack_ns() == before > 1


@pytest.mark.parametrize("name", ["ring", "pipe"])
def test_a_frame_that_is_wrong_ends_a_ring_bench(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(link: Link, frames: list[bytes], records: int) -> float:
        link.reader()()
        raise WrongAnswer("frame 0 is wrong")

    monkeypatch.setattr(ring_throughput, "consume", wrong)
    with pytest.raises(WrongAnswer, match="is wrong"):
        ring_throughput.measure(name, 16, 60.0)


class LossyRing(Ring):
    """It hands over the right length and number, but nothing behind that."""

    def writer(self) -> Callable[[bytes], object]:
        put = super().writer()
        return lambda frame: put(bytes(frame[:8]) + bytes(len(frame) - 8))


def test_a_ring_that_loses_what_is_behind_the_number_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ring_throughput.ALL, "lossy", LossyRing)
    with pytest.raises(WrongAnswer, match="other bytes than were put"):
        ring_throughput.measure("lossy", 16, 0.05)
    monkeypatch.setitem(ring_roundtrip.ALL, "lossy", LossyRing)
    with pytest.raises(WrongAnswer, match="trip 0 brought"):
        ring_roundtrip.measure("lossy", 100)


def test_rows_with_another_price_are_a_wrong_answer(tmp_path: Path) -> None:
    resolved = resolve(tmp_path, Config(desk=DeskConfig(snapshot_bytes=0)))
    persistence_rows.make_day(resolved, 20)
    persistence_rows.run(resolved, 20, Finding("x", "x"))
    database = Path(resolved.data_dir) / "oms.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE executions SET quantity = price, price = quantity WHERE order_number % 2")
    with pytest.raises(WrongAnswer, match=r"10 of 20 executions are of 100 at 585\.33"):
        rows.check(database, 20, persistence_rows.TABLES, filled=True)


@pytest.mark.parametrize("name", ["ring", "multiprocessing.Queue", "pipe"])
def test_a_producer_that_dies_ends_a_ring_bench(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_throughput, "produce", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(WrongAnswer, match="the other process"):
        ring_throughput.measure(name, 16, 0.1)


def test_peers_that_lose_a_response_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_throughput, "PATIENCE_S", 0.01)
    oms = SimpleNamespace(stored=3)
    with pytest.raises(WrongAnswer, match="3 of 4 responses"):
        peers_throughput._wait(oms, 4)  # type: ignore[arg-type]
    with pytest.raises(WrongAnswer, match="4 orders have 5 rows"):
        peers_throughput._check((5, 4), 4)
