"""Brute-force judges of a throttle: they know nothing of tokens, only of when calls started and returned."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    start_ns: int
    return_ns: int
    cancel: bool


def most_in_a_window(calls: list[Call], per_ns: int) -> int:
    """The most calls that one half-open window of `per_ns` can hold when each request may reach the venue at any
    instant from its start to its return: a window can hold a call if it meets [start, return]. It is enough to
    look at the windows that end on a start: any other can be moved back until it does, losing nothing.
    """
    most = 0
    for last in calls:
        end_ns = last.start_ns  # the window (end - per, end]
        held = sum(call.start_ns <= end_ns and call.return_ns > end_ns - per_ns for call in calls)
        most = max(most, held)
    return most


def most_in_a_period(calls: list[Call], per_ns: int, phase_ns: int) -> int:
    """The same for the periods [phase + k * per, phase + (k + 1) * per) of a counter that is reset."""
    periods = {(edge - phase_ns) // per_ns for call in calls for edge in (call.start_ns, call.return_ns)}
    most = 0
    for period in periods:
        begin_ns = period * per_ns + phase_ns
        held = sum(call.start_ns < begin_ns + per_ns and call.return_ns >= begin_ns for call in calls)
        most = max(most, held)
    return most
