"""A page of counters and latency histograms in shared memory that describes itself.

One process writes, anybody reads, nobody waits. The header holds the names and offsets as JSON, so a reader of
another version can show what it has never heard of.

    0  magic u64 | 8 version u64 | 16 writer's pid | 24 its start ticks | 32 length of the JSON u64
    64 JSON: {"counters": {name: word}, "histograms": {name: word}}; words are int64 and 8-byte aligned

A histogram is log-linear as in HDR: 64 linear steps per power of two, so a value is known within 1/64 (1.6 %),
from 1 ns to 1,099 s (2**40 ns); beyond that it counts as the largest. Word 0 is the sum, word 1 the maximum, then
the buckets; the count is the sum over the buckets, so a record is three stores and nothing can disagree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

from ipc import segment
from ipc.errors import NotThere, VersionMismatch
from ipc.proc import process_start_ticks

PAGE_MAGIC = int.from_bytes(b"OMSPAGE\0", "little")
PAGE_VERSION = 1
PAGE_MAGIC_AT, PAGE_VERSION_AT, PAGE_PID_AT, PAGE_START_TICKS_AT, PAGE_JSON_BYTES_AT = 0, 8, 16, 24, 32
PAGE_JSON_AT = 64

_STEP_BITS = 6
_VALUE_MAX = (1 << 40) - 1
_SUM, _MAX, _BUCKETS = 0, 1, 2
_BUCKET_COUNT = (40 - _STEP_BITS + 1) << _STEP_BITS
HISTOGRAM_WORDS = _BUCKETS + _BUCKET_COUNT
_BEING_MADE = "is just being made"


def _bucket_middle(bucket: int) -> int:
    """The value in the middle of what `bucket` counts."""
    exponent = max(0, (bucket >> _STEP_BITS) - 1)
    return (bucket - (exponent << _STEP_BITS) << exponent) + (1 << exponent >> 1)


class Histogram:
    """Latencies in ns over HISTOGRAM_WORDS of a page."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def record(self, value_ns: int, times: int = 1) -> None:
        """Count `value_ns`, `times` over (a batch that took equally long). Negative values count as 0."""
        value = 0 if value_ns < 0 else value_ns if value_ns <= _VALUE_MAX else _VALUE_MAX
        exponent = value.bit_length() - 7
        if exponent < 0:
            exponent = 0
        words = self._words
        words[(exponent << 6) + (value >> exponent) + 2] += times
        words[0] += value * times
        if value > words[1]:
            words[1] = value

    def record_many(self, values_ns: Iterable[int]) -> None:
        record = self.record
        for value in values_ns:
            record(value)

    def buckets(self) -> list[tuple[int, int]]:
        """(middle of the bucket in ns, count) of every bucket that is not empty, rising."""
        return [(_bucket_middle(i), n) for i, n in enumerate(self._words[_BUCKETS:]) if n]

    @property
    def count(self) -> int:
        return sum(self._words[_BUCKETS:])

    @property
    def sum(self) -> int:
        return self._words[_SUM]

    @property
    def max(self) -> int:
        return self._words[_MAX]

    def percentile(self, percent: float) -> int:
        """The value that `percent` (0–100) of the values do not exceed, within 1.6 %; 0 when there is none."""
        buckets = self.buckets()
        left = max(1.0, sum(count for _, count in buckets) * percent / 100)
        for middle, count in buckets:
            left -= count
            if left <= 1e-9:
                return min(middle, self.max)
        return self.max

    def reset(self) -> None:
        self._words[:] = memoryview(bytes(8 * HISTOGRAM_WORDS)).cast("q")


class Page:
    """`words` is the whole page as int64: the writer's hot path is `words[i] += n` with `i = page.index(name)`."""

    __slots__ = ("_counters", "_histograms", "_segment", "path", "words")

    def __init__(self, file: segment.Segment) -> None:
        self.path = file.path
        self._segment = file
        words = file.view[: len(file.view) & -8].cast("q")
        if len(words) * 8 < PAGE_JSON_AT:
            raise VersionMismatch(self.path, f"{len(words) * 8} bytes", "a page")
        if words[0] == 0:
            raise NotThere(self.path, _BEING_MADE)
        if (words[0], words[1]) != (PAGE_MAGIC, PAGE_VERSION):
            raise VersionMismatch(self.path, f"version {words[1]}", PAGE_VERSION)
        self.words = words
        text = bytes(file.view[PAGE_JSON_AT : PAGE_JSON_AT + words[PAGE_JSON_BYTES_AT // 8]])
        try:
            names = json.loads(text)
        except ValueError as error:  # its writer has died, and its successor began the page anew just now
            raise NotThere(self.path, _BEING_MADE) from error
        self._counters: dict[str, int] = names["counters"]
        self._histograms: dict[str, int] = names["histograms"]

    @classmethod
    def create(cls, path: str, counters: Sequence[str], histograms: Sequence[str] = ()) -> Page:
        """A page of zeros, in place of what had that name. Raises NoSpace, NoDescriptors."""
        text, size_bytes = _describe(counters, histograms)

        def init(view: memoryview) -> None:
            words = view.cast("q")
            words[PAGE_PID_AT // 8] = os.getpid()
            words[PAGE_START_TICKS_AT // 8] = process_start_ticks(os.getpid())
            words[PAGE_JSON_BYTES_AT // 8] = len(text)
            view[PAGE_JSON_AT : PAGE_JSON_AT + len(text)] = text
            words[PAGE_VERSION_AT // 8] = PAGE_VERSION
            words[PAGE_MAGIC_AT // 8] = PAGE_MAGIC

        return cls(segment.renew(path, size_bytes, init))

    @classmethod
    def attach(cls, path: str) -> Page:
        """Raises NotThere (also while its writer makes it), VersionMismatch."""
        file = segment.attach(path)
        try:
            return cls(file)
        except BaseException:
            file.close()
            raise

    def index(self, name: str) -> int:
        """The word of a counter. Raises KeyError."""
        return self._counters[name]

    def __getitem__(self, name: str) -> int:
        value: int = self.words[self._counters[name]]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        self.words[self._counters[name]] = value

    def counters(self) -> dict[str, int]:
        return {name: self.words[word] for name, word in self._counters.items()}

    def histogram(self, name: str) -> Histogram:
        """Raises KeyError."""
        start = self._histograms[name]
        return Histogram(self.words[start : start + HISTOGRAM_WORDS])

    def histograms(self) -> dict[str, Histogram]:
        return {name: self.histogram(name) for name in self._histograms}

    @property
    def writer(self) -> tuple[int, int]:
        """(pid, start ticks) of the process that made the page."""
        return self.words[PAGE_PID_AT // 8], self.words[PAGE_START_TICKS_AT // 8]

    def close(self) -> None:
        self.words.release()
        self._segment.close()


def _describe(counters: Sequence[str], histograms: Sequence[str]) -> tuple[bytes, int]:
    """The JSON of the names and the size of the page. Offsets are found with the longest JSON there could be."""
    longest = len(json.dumps([*counters, *histograms])) + 12 * (len(counters) + len(histograms)) + 64
    lines = (PAGE_JSON_AT + longest + segment.CACHE_LINE_BYTES - 1) // segment.CACHE_LINE_BYTES
    first = lines * segment.CACHE_LINE_BYTES // 8
    after = first + len(counters)
    names = {
        "counters": {name: first + i for i, name in enumerate(counters)},
        "histograms": {name: after + i * HISTOGRAM_WORDS for i, name in enumerate(histograms)},
    }
    return json.dumps(names).encode(), 8 * (after + len(histograms) * HISTOGRAM_WORDS)
