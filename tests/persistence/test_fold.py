"""Folding frames into rows: equal to the naive model however the journals are cut into batches."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oms_actors.core.fold import SHAPES, Fold, stretches
from oms_actors.edges.journal import frames
from oms_actors.edges.store import Store
from oms_actors.messages import Kind
from oms_actors.record import RAW, RESULT, records
from tests.persistence.compare import assert_same
from tests.persistence.naive import tables
from tests.support.disk import FakeDisk
from tests.support.journals import mixed_day, open_script


def work_off(disk: FakeDisk, path: Path, rng: random.Random) -> Fold:
    """Both journals into a new database, cut into batches at random."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    store, fold = Store(path, "x"), Fold()
    store.open()
    intake = frames(disk, "intake")
    known = 0

    def take_in() -> bool:
        nonlocal known
        frame = next(intake, None)
        if frame is not None:
            fold.intake(frame.payload, frame.wall_ns, frame.mono_ns)
            known = frame.sequence + frame.records - 1
            maybe_commit()
        return frame is not None

    def maybe_commit() -> None:
        if rng.random() < 0.2:
            store.begin()
            store.commit(fold.take(), {})

    for frame in frames(disk, "sender"):
        while known < frame.input or rng.random() < 0.2:
            if not take_in():
                break
        fold.sender(frame.payload, frame.sequence, frame.wall_ns)
        maybe_commit()
    while take_in():
        pass
    store.begin()
    store.commit(fold.take(), {})
    store.close()
    return fold


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 150))
def test_the_rows_are_those_of_the_naive_model_however_the_day_is_cut(tmp_path: Path, seed: int, steps: int) -> None:
    disk = FakeDisk()
    mixed_day(open_script(disk), steps, seed)
    fold = work_off(disk, tmp_path / "oms.sqlite", random.Random(seed))
    assert fold.unknown == 0
    assert_same(tmp_path / "oms.sqlite", tables(disk))


def test_a_record_kind_without_a_table_is_skipped_and_counted() -> None:
    fold = Fold()
    fold.sender(bytes((Kind.COMMAND,)) + bytes(255) + RESULT.pack(Kind.RESULT, 1, 1, 1, 5, 0, 0), 1, 0)
    assert fold.unknown == 1
    assert fold.records == 2
    assert fold.take() == {}


@pytest.mark.parametrize("payload", [bytes(256), RAW.pack(Kind.RAW, 1, 1, 1, 1, 1, 1, b"x")[:-32]])
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="byte"):
        Fold().intake(payload, 0, 0)


@given(st.lists(st.sampled_from([1, 2, 3, 33, 34, 35, 64, 65, 66, 68, 69]), max_size=40))
def test_stretches_are_the_records_in_order(kinds: list[int]) -> None:
    parts = [bytes((kind,)) + bytes((n,)) * ({68: 32}.get(kind, 256 if kind > 63 else 192) - 1)
             for n, kind in enumerate(kinds)]  # fmt: skip
    payload = b"".join(parts)
    found = [record for _, part in stretches(payload) for record in records(bytes(part))]
    assert found == parts


def test_a_stretch_longer_than_one_look_is_walked_to_its_end() -> None:
    payload = RESULT.pack(Kind.RESULT, 1, 1, 1, 5, 0, 0) * 5_000
    assert sum(len(part) for _, part in stretches(payload)) == len(payload)


def test_shapes_of_one_table_share_only_the_key_and_what_the_fold_keeps_as_one_last_word() -> None:
    for shape in SHAPES:
        assert len(set(shape.columns)) == len(shape.columns)
        assert shape.keys in (1, 2)
