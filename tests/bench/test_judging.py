"""Verdicts, comparisons and plots, from figures made up."""

from __future__ import annotations

from typing import Any

import pytest

from bench import stress
from bench.compare import compare, not_comparable
from bench.desk_throttle import judge
from bench.goals import GOALS, table
from bench.measure import Finding, Latencies, Metric, Options, WrongAnswer
from bench.path_latency import DUE
from bench.stress import STAGES, Trial
from bench.suite import NAMES
from bench.svg import Bar, Curve, bars, curves, number

SECOND_NS = 10**9


def finding(**figures: float) -> Finding:
    found = Finding("x", "x")
    for name, value in figures.items():
        found.add(name, "u", value)
    return found


@pytest.mark.parametrize(
    ("rate", "verdict"), [(300_000, "aim"), (299_999, "floor"), (80_000, "floor"), (79_999, "below")]
)
def test_a_goal_that_is_better_high_is_held_from_its_floor_on(rate: float, verdict: str) -> None:
    assert table({"path_day": finding(committed=rate)})[0]["verdict"] == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [(0.7, "aim"), (0.71, "floor"), (1.5, "floor"), (1.51, "below")])
def test_a_goal_that_is_better_low_is_held_up_to_its_floor(seconds: float, verdict: str) -> None:
    found = finding(**{"start to ready": seconds, "stop to gone": 0.1})
    rows = {row["what"]: row for row in table({"start_stop": found})}
    assert rows["start to ready"]["verdict"] == verdict


def test_what_was_not_measured_is_not_judged() -> None:
    assert {row["verdict"] for row in table({})} == {"not measured"}
    assert len(table({})) == len(GOALS)


def test_goals_name_benches_that_there_are() -> None:
    assert {name for goal in GOALS for name in goal.benches} <= set(NAMES)


def test_power_is_judged_against_the_fdatasync_of_the_same_run() -> None:
    found = finding(**{"sync of intake, p50": 100, "sync of sender, p50": 120, f"{DUE}, p50": 300})
    (row,) = [row for row in table({"latency_power": found}) if row["measured"] is not None]
    assert (row["floor"], row["aim"], row["verdict"]) == (340, 170, "floor")


def test_the_ratio_of_power_to_process_needs_both() -> None:
    runs = {"order_path": finding(**{"order path": 200}), "power": finding(**{"order path": 150})}
    assert [row["measured"] for row in table(runs) if row["unit"] == "%"] == [75]
    assert [row["measured"] for row in table({"power": runs["power"]}) if row["unit"] == "%"] == [None]


def document(values: list[float], better: str = "higher", name: str = "b", **config: int) -> dict[str, Any]:
    found = Finding("b", "b", config=config)
    found.metrics["m"] = Metric("m", "u", values, better)  # type: ignore[arg-type]
    return {"benches": [found.document() | {"name": name}]}


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [([10, 11], [20, 21], "higher", "better"), ([10, 11], [20, 21], "lower", "worse"),
     ([10, 20], [15, 30], "higher", "same"), ([100], [101], "higher", "same"), ([20], [10], "lower", "unsure"),
     ([20, 20], [10, 10], "lower", "better"), ([100, 100], [94], "higher", "unsure"),
     ([0, 0], [5, 6], "lower", "worse"),
     ([0, 0], [0, 0], "lower", "same")],
)  # fmt: skip
def test_a_change_counts_if_the_runs_do_not_overlap(
    old: list[float], new: list[float], better: str, verdict: str
) -> None:
    (row,) = compare(document(old, better), document(new, better))
    assert row["verdict"] == verdict


def test_two_benches_of_one_kind_are_compared_each_with_itself() -> None:
    both = {"benches": document([1, 2], name="path")["benches"] + document([10, 20], name="path_day")["benches"]}
    assert [(row["bench"], row["verdict"]) for row in compare(both, both)] == [("path", "same"), ("path_day", "same")]


def test_what_ran_with_another_configuration_is_not_compared() -> None:
    small, large = document([1, 1], orders=2_000), document([9, 9], orders=200_000)
    assert (compare(small, large), compare(large, small)) == ([], [])
    assert not_comparable(small, large) == {"b": "orders 2000 → 200000"}
    assert not_comparable(small, small) == {}


def test_a_window_over_the_limit_is_a_wrong_answer() -> None:
    at_limit = [0, 1, SECOND_NS, SECOND_NS + 1]
    judge(finding(), [ns + 1 for ns in at_limit], 2)
    with pytest.raises(WrongAnswer, match="1 windows are over"):
        judge(finding(), [1, 2, SECOND_NS, SECOND_NS + 2], 2)


def calm(**differences: float) -> Trial:
    trial = Trial(1_000, **({"achieved": 1_000.0} | differences))  # type: ignore[arg-type]
    for samples in trial.backlog:
        samples.extend([5, 3, 4, 5, 3, 4])
    return trial


def test_stress_names_the_stage_whose_backlog_grows() -> None:
    trial = Trial(1_000, achieved=1_000.0)
    for at in range(20):
        for stage, growth in enumerate((0, 1, 50, 2)):
            trial.backlog[stage].append(at * growth)
    assert not trial.sustained
    assert trial.document()["gives_way"] == STAGES[2][0]
    assert trial.verdict().startswith(STAGES[2][0])


def test_stress_calls_a_rate_sustained_if_nothing_grows() -> None:
    assert calm().sustained
    assert calm().verdict() == "sustained"


def test_stress_takes_a_batch_at_the_end_for_no_growth() -> None:
    trial = calm()
    trial.backlog[3] = [300, 310, 290, 300, 305, 295] * 5 + [600]
    assert trial.sustained


@pytest.mark.parametrize("differences", [{"full": 3}, {"achieved": 900.0}])
def test_stress_names_the_first_ring_where_not_all_could_be_submitted(differences: dict[str, float]) -> None:
    trial = calm(**differences)
    assert not trial.sustained
    assert trial.document()["gives_way"] == STAGES[0][0]
    assert ("full 3 times" in trial.verdict()) == ("full" in differences)


def test_stress_says_how_late_the_last_row_came() -> None:
    trial = calm(drained_s=1.2)
    trial.backlog[3] = [900] * 6
    assert not trial.sustained
    assert "1.2 s after the last order; most was waiting in journals → database" in trial.verdict()


def test_stress_tries_once_more_what_was_not_sustained(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def trial(options: Options, rate: int, seconds: float, upstreams: int, durability: str) -> Trial:
        tried.append(rate)
        late = 0.0 if rate < 100_000 and tried.count(rate) % 2 == 0 else 1.2
        return Trial(rate, seconds, achieved=rate, drained_s=late)

    monkeypatch.setattr(stress, "trial", trial)
    found = stress.search(Options(rate=50_000), 2, "process")
    assert 90_000 < found["sustained"] < 100_000 <= found["first_not_sustained"]
    assert {tried.count(rate) for rate in tried if rate >= 100_000} == {2}


def test_stress_believes_a_rate_only_if_it_holds_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def trial(options: Options, rate: int, seconds: float, upstreams: int, durability: str) -> Trial:
        held = rate < (100_000 if seconds == 3.0 else 70_000)
        return Trial(rate, seconds, achieved=rate, drained_s=0.0 if held else 1.2)

    monkeypatch.setattr(stress, "trial", trial)
    found = stress.search(Options(rate=50_000), 2, "process")
    assert 60_000 < found["sustained"] < 70_000 <= found["first_not_sustained"] < 80_000
    assert max(each["seconds"] for each in found["trials"] if each["rate"] == found["sustained"]) == 15.0


def test_latencies_keep_their_percentiles() -> None:
    found = Latencies()
    found.record(range(1_000, 1_001_000, 1_000))
    assert found.percentile_us(50) == pytest.approx(500, rel=0.01)
    assert found.document()["us"]["p100"] == pytest.approx(1_000, rel=0.01)
    assert [percent for percent, _ in found.curve()] == sorted(percent for percent, _ in found.curve())


@pytest.mark.parametrize(("value", "said"), [(0, "0"), (0.0123, "0.012"), (3.14159, "3.14"), (81234.5, "81,234")])
def test_numbers_have_as_many_digits_as_mean_something(value: float, said: str) -> None:
    assert number(value) == said


def test_plots_of_nothing_are_nothing() -> None:
    assert bars([], "u") == curves([]) == curves([Curve("one point", [(50, 1)])]) == ""


def test_bars_and_curves_name_what_they_show() -> None:
    drawn = bars([Bar("a<b", 5, 4, 6), Bar("c", 500, 400, 600, 7)], "u", log=True)
    assert drawn.count("<rect") == 2
    assert "a&lt;b: 5.00 u (4.00 … 6.00)" in drawn
    assert "99.9 %" in curves([Curve("process", [(50, 10), (90, 20), (99.9, 300), (100, 5_000)])])
