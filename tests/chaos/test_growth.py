"""The judgement on what grows, without any desk."""

from __future__ import annotations

import pytest
from chaos.desk import ROLES
from chaos.growth import BYTES_PER_REQUEST, MB, SUPERVISOR, Sample, grown, growths

EVERYBODY = (*ROLES, SUPERVISOR)


def run(*, role: str = "", bytes_each: int = 0, descriptors: int = 0, files: int = 0) -> list[Sample]:
    """40 looks, 4,500 requests between two of them; one process grows with each request."""
    found = []
    for at in range(40):
        memory = dict.fromkeys(EVERYBODY, 20 * MB) | ({role: 20 * MB + 4_500 * at * bytes_each} if role else {})
        fds = dict.fromkeys(EVERYBODY, 20 + descriptors * at)
        found.append(Sample(15.0 * at, 4_500 * at, memory, fds, 64 * MB + files * at * MB, 36 + files * at))
    return found


def test_a_desk_that_stays_as_it_is_is_flat() -> None:
    assert grown(run()) == []
    assert [growth.role for growth in growths(run())] == list(EVERYBODY)


@pytest.mark.parametrize("role", EVERYBODY)
def test_a_process_may_grow_with_its_ids_and_with_nothing_else(role: str) -> None:
    allowed = BYTES_PER_REQUEST.get(role, 0)
    assert grown(run(role=role, bytes_each=allowed)) == []
    (found,) = grown(run(role=role, bytes_each=allowed + 256))
    assert found.startswith(f"{role}: ")


def test_the_sender_as_it_was_with_whole_finished_orders_is_not_flat() -> None:
    assert grown(run(role="sender", bytes_each=900))


def test_a_process_that_was_large_when_somebody_looked_once_is_no_growth() -> None:
    samples = run()
    samples[-2].memory["sender"] = 500 * MB
    assert grown(samples) == []


def test_descriptors_and_files_that_are_left_behind_are_told() -> None:
    assert len(grown(run(descriptors=1))) == len(EVERYBODY)
    assert len(grown(run(files=1))) == 2
