"""Records by columns: the same values as one by one."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from oms_actors.core.columns import Columns, either, neither, rows_of, where, without

LAYOUT = struct.Struct("<BBHIq16s")
FLAGS = st.lists(st.integers(0, 1), min_size=1, max_size=50).map(bytes)
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)
RECORDS = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1),
              st.integers(-(2**63), 2**63 - 1), NAMES), min_size=1, max_size=40,
)  # fmt: skip


@given(RECORDS, st.integers(1, 5))
def test_every_field_of_every_record_is_there(records: list[tuple[int, int, int, int, int, str]], pieces: int) -> None:
    packed = [LAYOUT.pack(*numbers, name.encode()) for *numbers, name in records]
    parts = [memoryview(b"".join(packed[at : at + pieces])) for at in range(0, len(packed), pieces)]
    columns = Columns(parts, LAYOUT.size)
    assert columns.count == len(records)
    assert list(columns.byte(1)) == [record[1] for record in records]
    assert columns.u32(4) == [record[3] for record in records]
    assert columns.i64(8) == [record[4] for record in records]
    assert columns.text(16, 16) == [record[5] for record in records]
    flags = bytes(record[0] & 1 for record in records)
    assert list(columns.chosen(flags)) == [one for one, chosen in zip(packed, flags, strict=True) if chosen]


def test_a_text_with_a_line_break_in_it_puts_no_other_text_out_of_place() -> None:
    packed = b"".join(LAYOUT.pack(0, 0, 0, 0, 0, name) for name in (b"A-1", b"B\n2", b"C-3"))
    assert Columns([memoryview(packed)], LAYOUT.size).text(16, 16) == ["A-1", "B\n2", "C-3"]


@given(FLAGS)
def test_flags_combine_place_by_place(first: bytes) -> None:
    second, third = first[::-1], first[1:] + first[:1]
    assert list(either(first, second)) == [a | b for a, b in zip(first, second, strict=True)]
    assert list(neither(first, second)) == [1 - (a | b) for a, b in zip(first, second, strict=True)]
    expected = [a & (1 - b) & (1 - c) for a, b, c in zip(first, second, third, strict=True)]
    assert list(without(first, second, third)) == expected


def test_rows_follow_each_other_and_only_the_chosen_ones() -> None:
    columns = ([1, 2, 3], b"abc", ["x", "y", "z"])
    assert rows_of(columns) == [1, 97, "x", 2, 98, "y", 3, 99, "z"]
    assert rows_of(columns, b"\1\0\1") == [1, 97, "x", 3, 99, "z"]
    assert rows_of(columns, b"\1\1\1") == rows_of(columns)
    assert rows_of(columns, b"\0\0\0") == []


@given(FLAGS)
def test_rows_are_chosen_one_by_one(flags: bytes) -> None:
    column = list(range(len(flags)))
    for chosen in (flags, (flags[:1] + flags[-1:]) * len(flags))[: 1 + (len(flags) > 1)]:
        picked = [at for at, flag in zip(column, chosen, strict=False) if flag]
        rows = rows_of((column, bytes(len(column))), chosen[: len(column)])
        assert rows == [value for at in picked for value in (at, 0)]


def test_where_makes_a_table_of_wanted_values() -> None:
    assert b"\0\5\7\5".translate(where([5])) == b"\0\1\0\1"
