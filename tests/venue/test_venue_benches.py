"""The benches of book and venue, as small as makes sense: they still run, and still check their answers."""

from __future__ import annotations

import pytest

from bench import book_speed, venue_speed
from bench.measure import Options, WrongAnswer


def test_the_book_bench_finds_every_figure() -> None:
    found = book_speed.bench(Options(tiny=True))
    assert set(found.metrics) == {"stream", "cost_small", "cost_large", "memory"}
    assert found["memory"].best < 400


def test_the_book_bench_knows_the_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(book_speed.KNOWN, (100, 7), (1, 1))
    with pytest.raises(WrongAnswer):
        book_speed.bench(Options(orders=100, tiny=True))


def test_the_venue_bench_finds_every_figure() -> None:
    found = venue_speed.bench(Options(tiny=True))
    assert {"match", "fill"} < set(found.metrics)
