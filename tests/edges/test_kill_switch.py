"""The kill switch: every touch takes effect, also of two at once, and is on record."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oms_actors.edges import kill_switch
from oms_actors.edges.kill_switch import Kill, KillSwitch


def scopes(folder: Path) -> list[str]:
    return sorted(kill.scope for kill in KillSwitch(folder).read().kills)


def test_two_who_kill_at_once_do_not_lose_each_others_flag(tmp_path: Path) -> None:
    names = [f"A{n}" for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: KillSwitch(tmp_path).kill(Kill(account=name)), names))
    assert scopes(tmp_path) == sorted(f"account {name}" for name in names)


def test_somebody_who_died_or_hangs_in_it_does_not_keep_others_from_killing(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    before = kill_switch.LOCK_TRIES
    kill_switch.LOCK_TRIES = 2
    try:
        with switch._alone():
            KillSwitch(tmp_path).kill(Kill())
    finally:
        kill_switch.LOCK_TRIES = before
    assert scopes(tmp_path) == ["everything"]


def test_who_touched_it_when_and_why_is_kept_without_any_process(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.kill(Kill(account="A", by="ann", time_ns=1, reason="odd prices"), cancel_working=True)
    switch.kill(Kill(symbol="X", by="bob", time_ns=2))
    assert switch.changed() is True
    switch.resume(symbol="X", by="cid")
    lines = [json.loads(line) for line in (tmp_path / kill_switch.LOG).read_text().splitlines()]
    assert [(line["what"], line["account"], line["symbol"], line["by"], line["reason"]) for line in lines] == [
        ("kill --cancel-working", "A", "", "ann", "odd prices"), ("kill", "", "X", "bob", ""),
        ("resume", "", "X", "cid", ""),
    ]  # fmt: skip
    assert scopes(tmp_path) == ["account A"]


def test_who_was_away_hears_of_every_request_to_cancel_once(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    for name in "ABC":
        switch.kill(Kill(account=name), cancel_working=True)
    switch.kill(Kill(account="D"))
    switch.resume(account="A")

    def asked(known: int) -> list[str]:
        return [kill.account for kill in switch.read().asked_since(known)]

    assert [asked(known) for known in range(5)] == [["A", "B", "C"], ["B", "C"], ["C"], [], ["A", "B", "C"]]
    (tmp_path / kill_switch.FILE).unlink()
    assert asked(3) == []
