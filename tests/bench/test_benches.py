"""Every bench runs, tiny, and checks its own answer; what it measures is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import goals, machine, report
from bench.markdown import markdown, replaced
from bench.measure import Finding, Options, WrongAnswer
from bench.page import html
from bench.suite import NAMES, SUITE, chosen
from oms_actors.cli.main import run

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
    assert {row["verdict"] for row in found["compared"]} <= {"better", "worse", "same"}
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


def test_all_names_run_in_the_order_of_the_suite() -> None:
    assert [bench.name for bench in chosen(["idle", "path"])] == ["path", "idle"]
    assert len(chosen([])) == len(SUITE)
