"""An order that comes alone takes a shorter way through intake and the sender: the same records, reports and calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.rig import Rig, rig
from oms_actors.actors.intake import IntakeRole
from oms_actors.actors.sender import SenderRole
from oms_actors.edges import journals
from oms_actors.edges.disk import OsDisk
from oms_actors.edges.journal import frames
from oms_actors.messages import CancelOrder, Kind, ModifyOrder, NewOrder, Request
from oms_actors.record import encode, records
from oms_actors.upstream import Upstream

REQUESTS = 120


def day(seed: int) -> Iterator[list[bytes]]:
    """What comes at once: mostly one plain order, now and then several, a change, something that is refused."""
    dice, sent = Random(seed), 0

    def request() -> Request:
        own, chance = f"o-{sent}", dice.random()
        if sent and chance < 0.1:
            orig = f"o-{dice.randrange(sent)}"
            return dice.choice((
                CancelOrder(client_order_id=own, orig_client_order_id=orig),
                ModifyOrder(client_order_id=own, orig_client_order_id=orig, quantity=7),
            ))  # fmt: skip
        name = f"o-{sent - 1}" if sent and chance < 0.15 else own  # an id that is known
        account = dice.choice(("", "", "ACC"))
        return NewOrder(client_order_id=name, symbol="AAPL", side=dice.choice(("BUY", "SELL")), quantity=5,
                        price=None if chance > 0.95 else "7", account=account,
                        order_type="MARKET" if chance > 0.95 else "LIMIT")  # fmt: skip

    while sent < REQUESTS:
        frame = []
        for _ in range(3 if dice.random() < 0.1 else 1):
            record = bytearray(encode(request()))
            if dice.random() < 0.03:
                record[168] = 255  # no symbol that could be printed
            frame.append(bytes(record))
            sent += 1
        yield frame


def timeless(record: bytes) -> bytes:
    """Without what the clock says."""
    kind = record[0]
    if kind == Kind.RESULT:
        return record[:16]
    return record[:32] + record[48:] if kind < Kind.REPORT or kind == Kind.REPORT else record[:8]


def run(made: Rig, seed: int) -> dict[str, list[bytes]]:
    """Everything that is left behind by a day."""
    told: list[bytes] = []
    for frame in day(seed):
        made.upstream.submit_records(b"".join(frame))
        for role in (made.intake, made.sender):
            if role.ready():
                role.work()
        made.settle()
        for reports in made.upstream.raw_reports():
            told += [timeless(reports[at : at + 256]) for at in range(0, len(reports), 256)]
    made.sender._flush()
    folder = OsDisk(journals.folder(made.resolved))
    found = {
        role: [timeless(record) for frame in frames(folder, role) for record in records(frame.payload)
               if record[0] not in (Kind.SESSION, Kind.UPSTREAM)]
        for role in (journals.INTAKE, journals.SENDER)
    }  # fmt: skip
    core = made.sender.core
    return {**found, "told": told, "state": [repr(core.state()[1:-3]).encode()],
            "counters": [f"{name} {made.sender.page[name]}".encode() for name in ("sent", "received", "responses")],
            "accepted": [b"%d" % made.intake.page["accepted"]]}  # fmt: skip


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("seed", range(3))
def test_short_or_long_the_same_comes_of_it(
    seed: int, durability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"intake": 0, "sender": 0}
    take_one, pass_on = IntakeRole._take_one, SenderRole._pass_on

    def counted(name: str, way: Any) -> Any:
        def called(*arguments: Any) -> bool:
            done: bool = way(*arguments)
            took[name] += done
            return done

        return called

    with monkeypatch.context() as patched:
        patched.setattr(IntakeRole, "_take_one", counted("intake", take_one))
        patched.setattr(SenderRole, "_pass_on", counted("sender", pass_on))
        with rig(tmp_path, durability) as made:
            short = run(made, seed)
    with monkeypatch.context() as patched:
        patched.setattr(IntakeRole, "_take_one", lambda self, now: False)
        patched.setattr(SenderRole, "_pass_on", lambda self: False)
        with rig(tmp_path, durability) as made:
            long = run(made, seed)
    assert short == long
    assert took["intake"] > REQUESTS / 2, "the short way must have been taken"
    assert took["sender"] > REQUESTS / 2


def test_an_upstream_announces_to_a_sender_that_sleeps(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        flag = made.sender.context.bell.flag
        flag[0] = 1
        made.upstream.submit(NewOrder(client_order_id="a", symbol="AAPL", side="BUY", quantity=1, price="1"))
        assert flag[0] == 0


def test_an_upstream_that_came_before_the_sender_gets_on_without_announcing(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        (made.runtime / "sender.bell").unlink()
        with Upstream.attach("rig", "early") as early:
            early.submit(NewOrder(client_order_id="a", symbol="AAPL", side="BUY", quantity=1, price="1"))
            made.settle()
            assert early.raw_reports()
