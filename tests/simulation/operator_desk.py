"""The people around the desk: they throw the kill switch, cancel everything, reconnect, and say what they know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.checker import Killed
from simulation.clock import MS, S

from oms_actors.actors.commands import MassCancel, Reconnect, Resolve
from oms_actors.core.throttle import NEVER_NS
from oms_actors.edges.kill_switch import Kill, KillSwitch
from oms_actors.messages import ResponseType

if TYPE_CHECKING:
    from simulation.world import World

FOR_EVER = 1 << 62
_TAKEN = (ResponseType.REPLACED, ResponseType.CANCELED)


class Operator:
    """`kills`: what the switch was told, for the checker."""

    def __init__(self, world: World) -> None:
        self.world, self.dice = world, world.dice
        self.kills: list[Killed] = []

    def meddle(self) -> None:
        """One thing that somebody does."""
        what = self.dice.choice((self._kill, self._kill, self._cancel_all, self._reconnect))
        self.world.note("operator", what.__name__)
        what()

    def _kill(self) -> None:
        world, dice = self.world, self.dice
        account, symbol = dice.choice((("", ""), ("ACC1", ""), ("", "AAA")))
        KillSwitch(world.data).kill(Kill(account, symbol, "somebody"), cancel_working=dice.random() < 0.5)
        killed = Killed(
            world.clock.true_ns, FOR_EVER, account.encode().ljust(16, b"\0") if account else b"",
            symbol.encode().ljust(16, b"\0") if symbol else b"",
        )  # fmt: skip
        self.kills.append(killed)
        world.after(dice.randrange(3_000) * MS, lambda: self._resume(account, symbol))

    def _resume(self, account: str = "", symbol: str = "") -> None:
        """Takes one flag away, whoever set it; everything where none is named."""
        for killed in self.kills:
            same = (killed.account.rstrip(b"\0"), killed.symbol.rstrip(b"\0")) == (account.encode(), symbol.encode())
            if same or not (account or symbol):
                killed.end_ns = min(killed.end_ns, self.world.clock.true_ns)
        KillSwitch(self.world.data).resume(account, symbol)

    def _cancel_all(self) -> None:
        self._tell(MassCancel(account=self.dice.choice(("", "ACC1")), symbol=self.dice.choice(("", "BBB"))))

    def _reconnect(self) -> None:
        self._tell(Reconnect())

    def _tell(self, message: object) -> None:
        sender = self.world.processes["sender"]
        if sender.alive and not sender.busy:
            sender.command(message)

    def clear_up(self) -> None:
        """The faults are over: nothing is held any more, and what is in doubt will be looked into."""
        self._resume()
        self.world.after(5 * S, self._look_into_doubts)

    def _look_into_doubts(self) -> None:
        """By telephone with the venue: what it has, it has."""
        world, sender = self.world, self.world.processes["sender"]
        if sender.alive and not sender.busy:
            for key in self._left_to_us(sender.role.core._doubts):
                world.note("resolve", key, self._has(key))
                self._tell(Resolve(_text(key[16:]), _text(key[:16]), self._has(key)))
        world.after(S, self._look_into_doubts)

    def _left_to_us(self, doubts: dict[bytes, list[int]]) -> list[bytes]:
        """Where the exchange deduplicates, only what the desk has given up."""
        by_itself = self.world.scenario.habits.deduplicates
        return [key for key, (look_ns, _) in doubts.items() if look_ns >= NEVER_NS or not by_itself]

    def _has(self, key: bytes) -> bool:
        """Is the request there, and did it take effect?"""
        order, answers = self.world.venue.orders.get(key), self.world.venue.answers.get(key, [])
        if order is not None:
            return order.state != "rejected"
        return any(answer.type in _TAKEN for answer in answers)


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode()
