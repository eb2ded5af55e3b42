"""Counters and histograms that describe themselves."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ipc.errors import NotThere, VersionMismatch
from ipc.page import HISTOGRAM_WORDS, Histogram, Page


def memory_histogram() -> Histogram:
    return Histogram(memoryview(bytearray(8 * HISTOGRAM_WORDS)).cast("q"))


def test_a_reader_sees_what_the_writer_counts(shm: Path) -> None:
    mine = Page.create(str(shm / "a.page"), ["orders", "fills"], ["latency"])
    theirs = Page.attach(str(shm / "a.page"))
    mine["orders"] += 3
    mine.words[mine.index("fills")] += 1
    mine.histogram("latency").record(1000, times=2)
    assert theirs.counters() == {"orders": 3, "fills": 1}
    assert theirs.histograms()["latency"].count == 2
    assert theirs.writer == mine.writer


def test_a_name_that_the_page_does_not_have_is_a_key_error(shm: Path) -> None:
    page = Page.create(str(shm / "a.page"), ["orders"])
    with pytest.raises(KeyError):
        page["fills"]


def test_what_is_no_page_is_refused_by_name(shm: Path) -> None:
    with pytest.raises(NotThere):
        Page.attach(str(shm / "none.page"))
    (shm / "other.page").write_bytes(b"OTHER" + bytes(200))
    with pytest.raises(VersionMismatch):
        Page.attach(str(shm / "other.page"))


def test_long_names_and_many_counters_do_not_run_into_each_other(shm: Path) -> None:
    names = [f"counter_{i}_" + "x" * i for i in range(100)]
    page = Page.create(str(shm / "a.page"), names, ["a", "b"])
    for i, name in enumerate(names):
        page[name] = i
    for name in ("a", "b"):
        page.histogram(name).record(2**39)
    assert Page.attach(str(shm / "a.page")).counters() == {name: i for i, name in enumerate(names)}


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=200), st.floats(0, 100))
@settings(deadline=None)
def test_a_percentile_is_within_two_percent_of_the_sorted_list(values: list[int], percent: float) -> None:
    histogram = memory_histogram()
    histogram.record_many(values)
    exact = sorted(values)[max(0, -(-len(values) * percent // 100) - 1).__int__()]
    assert abs(histogram.percentile(percent) - exact) <= exact / 50 + 1
    assert (histogram.count, histogram.sum, histogram.max) == (len(values), sum(values), max(values))


def test_a_value_beyond_the_range_counts_as_the_largest_and_a_negative_one_as_nothing() -> None:
    histogram = memory_histogram()
    histogram.record(2**60)
    histogram.record(-5)
    assert histogram.count == 2
    assert histogram.percentile(0) == 0
    assert histogram.max == 2**40 - 1


def test_a_reset_histogram_is_empty() -> None:
    histogram = memory_histogram()
    histogram.record(5)
    histogram.reset()
    assert (histogram.count, histogram.sum, histogram.max, histogram.percentile(99)) == (0, 0, 0, 0)
