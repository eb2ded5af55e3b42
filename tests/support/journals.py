"""Journals as intake and sender write them, for whoever reads them: real frames, invented orders.

`Script` is a desk's day without a desk. Its methods append the records that the real processes would, `flush` makes
them frames. Times and numbers follow from the calls alone: the same calls make the same bytes.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

from oms_actors.core.reports import NO_EXEC, NO_ORIG, report
from oms_actors.edges.disk import Disk, OsDisk
from oms_actors.edges.journal import MARK_WORDS, JournalWriter
from oms_actors.errors import ONE
from oms_actors.messages import (
    CancelOrder,
    ExecType,
    Kind,
    ModifyOrder,
    NewOrder,
    OrdStatus,
    Outcome,
    ResponseType,
    SessionEvent,
    Side,
)
from oms_actors.messages import ReportFlag as Flag
from oms_actors.record import KEY, MATCH, RAW, RESULT, SESSION, UPSTREAM, VERSION, encode, encode_text

START_NS = 1_750_000_000_000_000_000
"""UTC; the monotonic clock starts at 0."""
MS = 1_000_000
VENUE = int(Flag.FROM_VENUE | Flag.FROM_SENDER)
_STAMP = struct.Struct("<QIIIHH")
DONE = (OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.REJECTED, OrdStatus.EXPIRED)


class Order:
    """What the script remembers of an order."""

    def __init__(self, number: int, record: bytes, quantity: int, price: int, upstream: int) -> None:
        self.number, self.record, self.upstream = number, record, upstream
        self.first = self.key = record[KEY]
        self.quantity, self.price, self.cum, self.value = quantity, price, 0, 0
        self.status = int(OrdStatus.PENDING_NEW)

    @property
    def average(self) -> int:
        """AvgPx."""
        return (2 * self.value + self.cum) // (2 * self.cum) if self.cum else 0


class Script:
    """`intake` and `sender` are JournalWriters; records wait in lists until `flush`."""

    def __init__(self, intake: JournalWriter, sender: JournalWriter, upstream: int = 1) -> None:
        self.intake, self.sender, self.upstream = intake, sender, upstream
        self.now = 0
        self._in: list[bytes] = []
        self._out: list[bytes] = []
        self._results: list[bytes] = []
        self.orders: list[Order] = []

    # -- intake -----------------------------------------------------------------------------------------------------

    def _stamp(self, record: bytes, reason: int = 0, field: int = 0) -> bytes:
        self.now += 1_000
        sequence = self.intake.sequence + len(self._in)
        number = sequence if record[0] == Kind.NEW else 0
        stamps = _STAMP.pack(sequence, self.upstream, 0, 0, reason, field)
        times = record[32:40] + self.now.to_bytes(8, "little")
        return record[:8] + stamps + times + record[48:184] + number.to_bytes(8, "little")

    def new(self, client_order_id: str, *, reason: int = 0, field: int = 0, value: int = 0, limit: int = 0,
            account: str = "", quantity: int = 100, price: str = "585.33", side: str = "BUY", symbol: str = "AAPL",
            resend: bool = False) -> Order:  # fmt: skip
        """A NEW, admitted or (with a reason) refused."""
        request = NewOrder(client_order_id=client_order_id, symbol=symbol, side=side, quantity=quantity, price=price,
                           account=account, possible_resend=resend)  # fmt: skip
        record = self._stamp(encode(request), reason, field)
        number = int.from_bytes(record[8:16], "little")
        order = Order(number, record, quantity * ONE, int.from_bytes(record[56:64], "little"), self.upstream)
        self._in.append(record)
        if reason:
            exec_type = ExecType.ORDER_STATUS if resend else ExecType.REJECTED
            self._refuse(record, exec_type, OrdStatus.REJECTED, reason, field, value, limit, number)
        else:
            self.orders.append(order)
        return order

    def change(self, order: Order, client_order_id: str, *, quantity: int = 0, price: str | None = None,
               cancel: bool = False, reason: int = 0, field: int = 0) -> bytes:  # fmt: skip
        """A MODIFY or CANCEL of an order; the record."""
        account = order.key[:16].rstrip(b"\0").decode()
        orig = order.key[16:].rstrip(b"\0").decode()
        request: CancelOrder | ModifyOrder = CancelOrder(
            client_order_id=client_order_id, orig_client_order_id=orig, account=account
        )
        if not cancel:
            request = ModifyOrder(client_order_id=client_order_id, orig_client_order_id=orig, account=account,
                                  quantity=quantity or None, price=price)  # fmt: skip
        record = self._stamp(encode(request), reason, field)
        self._in.append(record)
        if reason:
            self._refuse(record, ExecType.CANCEL_REJECT, OrdStatus.NONE, reason, field, 0, 0, 0)
        return record

    def _refuse(self, record: bytes, exec_type: int, status: int, reason: int, field: int, value: int, limit: int,
                number: int) -> None:  # fmt: skip
        self._in.append(report(
            key=record[KEY], exec_type=exec_type, ord_status=status, flags=Flag.FINAL, request_kind=record[0],
            sequence=self.intake.sequence + len(self._in), upstream=self.upstream, reason=reason, field=field,
            time_ns=START_NS + self.now, orig=record[132:168], symbol=record[168:184], value=value, limit=limit,
            number=number,
        ))  # fmt: skip

    def garbage(self, data: bytes, reason: int = 1) -> None:
        """Bytes that do not decode."""
        sequence = self.intake.sequence + len(self._in)
        self._in.append(RAW.pack(Kind.RAW, VERSION, len(data), self.upstream, sequence, START_NS + self.now, 0, data))
        self._refuse(bytes(192), ExecType.REJECTED, OrdStatus.REJECTED, reason, 15, len(data), 192, 0)

    def name_upstream(self, name: str) -> None:
        """An UPSTREAM record."""
        self._in.append(UPSTREAM.pack(Kind.UPSTREAM, VERSION, 0, self.upstream, 0, 0, name.encode()))

    # -- sender -----------------------------------------------------------------------------------------------------

    def _say(self, order: Order, exec_type: int, *, flags: int = VENUE, response: int = 0, request_kind: int = 0,
             key: bytes | None = None, orig: bytes | None = None, quantity: int = 0, price: int = 0,
             exec_id: bytes = NO_EXEC, reason: int = 0, field: int = 0, value: int = 0, limit: int = 0,
             latency: int = 250_000, text: str = "") -> None:  # fmt: skip
        self.now += 1_000
        key = order.first if key is None else key
        if orig is None:
            orig = NO_ORIG if key == order.first else order.first[16:]
        leaves = 0 if order.status in DONE else max(order.quantity - order.cum, 0)
        self._out.append(report(
            key=key, exec_type=exec_type, ord_status=order.status, flags=flags | (Flag.HAS_TEXT if text else 0),
            request_kind=request_kind, response_type=response, sequence=self.sender.sequence + len(self._out),
            upstream=order.upstream, reason=reason, field=field, time_ns=START_NS + self.now,
            latency_ns=latency if response else 0, last_quantity=quantity, last_price=price, cum=order.cum,
            leaves=leaves, avg=order.average, quantity=order.quantity, side=Side.BUY, orig=orig,
            symbol=order.record[168:184], exec_id=exec_id, value=value, limit=limit, price=order.price,
            number=order.number,
        ))  # fmt: skip
        if text:
            self._out.append(encode_text(self.sender.sequence + len(self._out), text))

    def send(self, order: Order, record: bytes | None = None, outcome: int = Outcome.SENT) -> int:
        """INTENT of a NEW or of a change; the RESULT is in the next frame. Returns the INTENT's sequence."""
        record = record or order.record
        sequence = self.sender.sequence + len(self._out)
        self._out.append(
            bytes((record[0] + 32,)) + record[1:8] + sequence.to_bytes(8, "little") + record[16:184]
            + order.number.to_bytes(8, "little")
        )  # fmt: skip
        self._results.append(RESULT.pack(Kind.RESULT, VERSION, outcome, 1, sequence, self.now, self.now + 5_000))
        return sequence

    def ack(self, order: Order) -> None:
        """The exchange has it."""
        order.status = OrdStatus.NEW
        self._say(order, ExecType.NEW, flags=VENUE | Flag.FINAL, response=ResponseType.ACK, request_kind=Kind.NEW)

    def fill(self, order: Order, quantity: int = 0, exec_id: str = "", text: str = "", late: bool = False) -> None:
        """An execution at the order's price; of what is left unless told."""
        amount = quantity * ONE or order.quantity - order.cum
        order.cum += amount
        order.value += amount * order.price
        if not late:
            order.status = OrdStatus.FILLED if order.cum >= order.quantity else OrdStatus.PARTIALLY_FILLED
        exec_id = exec_id or f"E-{order.number}-{order.cum // ONE}"
        self._say(order, ExecType.TRADE, response=ResponseType.FILL, key=order.key, quantity=amount,
                  price=order.price, exec_id=exec_id.encode(), text=text,
                  flags=VENUE | (Flag.LATE if late else 0))  # fmt: skip

    def repeat_fill(self, order: Order, exec_id: str) -> None:
        """A fill that was there before: stored, without effect."""
        status, order.status = order.status, int(OrdStatus.NONE)
        self._say(order, ExecType.ORDER_STATUS, response=ResponseType.FILL, quantity=ONE, price=ONE,
                  exec_id=exec_id.encode())  # fmt: skip
        order.status = status

    def match(self, buy: Order, sell: Order) -> None:
        """Internal crossing of two waiting orders."""
        sequence = self.sender.sequence + len(self._out)
        quantity = min(buy.quantity - buy.cum, sell.quantity - sell.cum)
        self._out.append(MATCH.pack(
            Kind.MATCH, VERSION, 0, 0, sequence, START_NS + self.now, quantity, buy.price, buy.number, sell.number,
            buy.key, sell.key, buy.record[168:184],
        ))  # fmt: skip
        for order in (buy, sell):
            order.cum += quantity
            order.value += quantity * order.price
            order.status = OrdStatus.FILLED if order.cum >= order.quantity else OrdStatus.PARTIALLY_FILLED
            self._say(order, ExecType.TRADE, flags=int(Flag.FROM_SENDER), key=order.key, quantity=quantity,
                      price=buy.price, exec_id=f"X-{sequence}".encode(), reason=64)  # fmt: skip

    def cancel_ourselves(self, order: Order) -> bytes:
        """A CANCEL of the desk's own making goes to the exchange."""
        sequence = self.sender.sequence + len(self._out)
        request = CancelOrder(client_order_id=f"OMS-{sequence}", account=order.key[:16].rstrip(b"\0").decode(),
                              orig_client_order_id=order.key[16:].rstrip(b"\0").decode())  # fmt: skip
        record = encode(request, sequence)
        self._out.append(record)
        self.send(order, record)
        return record

    def reject(self, order: Order, text: str = "") -> None:
        """The exchange refuses it."""
        order.status = OrdStatus.REJECTED
        self._say(order, ExecType.REJECTED, flags=VENUE | Flag.FINAL, response=ResponseType.REJECT,
                  request_kind=Kind.NEW, reason=100, text=text)  # fmt: skip

    def replaced(self, order: Order, record: bytes, *, quantity: int = 0, price: int = 0,
                 waiting: bool = False) -> None:  # fmt: skip
        """A MODIFY worked, at the exchange or in the queue."""
        before, order.key = order.key, record[KEY]
        order.quantity, order.price = quantity * ONE or order.quantity, price or order.price
        if not waiting:
            order.status = OrdStatus.PARTIALLY_FILLED if order.cum else OrdStatus.NEW
        self._say(order, ExecType.REPLACED, request_kind=Kind.MODIFY, key=order.key, orig=before[16:],
                  response=0 if waiting else ResponseType.REPLACED, reason=58 if waiting else 0,
                  flags=int(Flag.FROM_SENDER | Flag.FINAL) if waiting else VENUE | Flag.FINAL)  # fmt: skip

    def canceled(self, order: Order, record: bytes, waiting: bool = False) -> None:
        """A CANCEL worked."""
        order.status = OrdStatus.CANCELED
        self._say(order, ExecType.CANCELED, request_kind=Kind.CANCEL, key=record[KEY], orig=record[132:168],
                  response=0 if waiting else ResponseType.CANCELED, reason=57 if waiting else 0,
                  flags=int(Flag.FROM_SENDER | Flag.FINAL) if waiting else VENUE | Flag.FINAL)  # fmt: skip

    def cancel_rejected(self, order: Order, record: bytes, text: str = "") -> None:
        """The exchange refuses a change: the order stays as it was."""
        order.status = OrdStatus.PARTIALLY_FILLED if order.cum else OrdStatus.NEW
        self._say(order, ExecType.CANCEL_REJECT, request_kind=record[0], key=record[KEY], orig=record[132:168],
                  response=ResponseType.CANCEL_REJECT, reason=109, flags=VENUE | Flag.FINAL, text=text)  # fmt: skip

    def unmatched(self, client_order_id: str, exec_type: int = ExecType.NEW) -> None:
        """A response that fits no order."""
        order = Order(0, bytes(96) + client_order_id.encode().ljust(96, b"\0"), 0, 0, 0)
        self._say(order, exec_type, flags=VENUE | Flag.UNMATCHED, response=ResponseType.ACK)

    def repeated(self, order: Order, text: str = "") -> None:
        """What the exchange said before, once more."""
        self._say(order, ExecType.CANCELED, flags=VENUE | Flag.POSSIBLE_DUPLICATE, response=ResponseType.CANCELED,
                  reason=112, text=text)  # fmt: skip

    def session(self, event: SessionEvent, text: str = "") -> None:
        """A SESSION record."""
        self._out.append(SESSION.pack(
            Kind.SESSION, VERSION, event, 0, START_NS + self.now, self.now, START_NS, START_NS + 10**13, 20250615,
            text.encode(),
        ))  # fmt: skip

    # -- frames -----------------------------------------------------------------------------------------------------

    def flush_intake(self) -> None:
        """What intake has taken in becomes a frame."""
        if self._in:
            self.intake.append(b"".join(self._in), len(self._in), START_NS + self.now, self.now)
            self.intake.sync()
            self._in.clear()

    def flush(self) -> None:
        """A frame of each; the results of its calls come with the sender's next."""
        self.flush_intake()
        if self._out:
            consumed = self.intake.sequence - 1
            self.sender.append(b"".join(self._out), len(self._out), START_NS + self.now, self.now, consumed)
            self.sender.sync()
            self._out.clear()
        self._out += self._results
        self._results.clear()
        self.now += MS


def open_script(folder: Path | Disk, *, segment_bytes: int = 4 << 20, durability: str = "process", boot: int = 1,
                marks: dict[str, list[int]] | None = None) -> Script:  # fmt: skip
    """A Script over the journals in a folder; `marks` (by role) are for readers of the same process."""
    disk = OsDisk(folder) if isinstance(folder, Path) else folder
    marks = {} if marks is None else marks
    writers = [
        JournalWriter(
            disk, role, durability=durability, segment_bytes=segment_bytes, desk=7, boot=boot, wall_ns=START_NS,
            mark=marks.setdefault(role, [0] * MARK_WORDS),
        )
        for role in ("intake", "sender")
    ]  # fmt: skip
    return Script(*writers)


def plain_day(script: Script, orders: int, per_frame: int = 256, lag: int = 2) -> None:
    """Orders that are acknowledged and filled; the answers come `lag` frames after the requests."""
    frames: list[list[Order]] = []
    for start in range(0, orders, per_frame):
        frames.append([script.new(f"A-{n}") for n in range(start, min(start + per_frame, orders))])
        if len(frames) > lag:
            _answer(script, frames.pop(0))
        for order in frames[-1]:
            script.send(order)
        script.flush()
    for waiting in frames:
        _answer(script, waiting)
        script.flush()
    script.flush()
    script.orders.clear()


def _answer(script: Script, orders: list[Order]) -> None:
    for order in orders:
        script.ack(order)
        script.fill(order)


def mixed_day(script: Script, steps: int, seed: int) -> None:
    """Everything that can happen, in random order; a frame now and then."""
    rng = random.Random(seed)
    act = _Mixed(script, rng)
    script.name_upstream("algo-1")
    script.session(SessionEvent.LOGGED_ON, "hello")
    for _ in range(steps):
        rng.choice(act.acts)()
        if rng.random() < 0.3:
            script.flush()
    script.flush()
    script.flush()


class _Mixed:
    """One random act each."""

    def __init__(self, script: Script, rng: random.Random) -> None:
        self.script, self.rng, self.count = script, rng, 0
        self.acts = (
            self.order, self.order, self.order, self.answer, self.answer, self.answer, self.replace, self.cancel,
            self.cancel_waiting, self.refused, self.odd, self.match, self.cancel_ourselves,
        )  # fmt: skip

    def _id(self) -> str:
        self.count += 1
        return f"ID-{self.count}"

    def _pick(self, *statuses: int) -> Order | None:
        fitting = [order for order in self.script.orders if order.status in statuses]
        return self.rng.choice(fitting) if fitting else None

    def order(self) -> None:
        account = self.rng.choice(("", "ACC-1"))
        order = self.script.new(self._id(), quantity=self.rng.randint(2, 9) * 10, account=account)
        if self.rng.random() < 0.7:
            self.script.send(order)

    def answer(self) -> None:
        script, rng = self.script, self.rng
        if order := self._pick(OrdStatus.PENDING_NEW):
            rng.choice((script.ack, script.ack, script.fill, lambda o: script.reject(o, rng.choice(("", "no")))))(order)
        if order := self._pick(OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
            script.fill(order, rng.choice((0, 1)), text=rng.choice(("", "", "as agreed")))

    def replace(self) -> None:
        if order := self._pick(OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_NEW):
            record = self.script.change(order, self._id(), price="600.5", quantity=200)
            waiting = order.status == OrdStatus.PENDING_NEW
            if not waiting:
                self.script.send(order, record, self.rng.choice((Outcome.SENT, Outcome.SENT, Outcome.NOT_SENT)))
            if waiting or self.rng.random() < 0.8:
                self.script.replaced(order, record, price=60050000000, quantity=200, waiting=waiting)

    def cancel(self) -> None:
        if order := self._pick(OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
            record = self.script.change(order, self._id(), cancel=True)
            self.script.send(order, record)
            answer = self.rng.random()
            if answer < 0.6:
                self.script.canceled(order, record)
            elif answer < 0.8:
                self.script.cancel_rejected(order, record, text=self.rng.choice(("", "too late")))

    def cancel_waiting(self) -> None:
        if order := self._pick(OrdStatus.PENDING_NEW):
            self.script.canceled(order, self.script.change(order, self._id(), cancel=True), waiting=True)

    def refused(self) -> None:
        self.script.new(self._id(), reason=30, field=20, limit=START_NS)
        if self.script.orders:
            self.script.change(self.script.orders[0], self._id(), cancel=True, reason=12, field=4)

    def odd(self) -> None:
        script, rng = self.script, self.rng
        script.garbage(b"\xff" * rng.randint(1, 192))
        script.unmatched("nobody", rng.choice((ExecType.NEW, ExecType.TRADE)))
        script.new("ID-1", reason=10, field=3, resend=rng.random() < 0.5)
        if order := self._pick(OrdStatus.FILLED, OrdStatus.CANCELED):
            script.fill(order, 1, exec_id=f"L-{self._id()}", late=True)
            script.repeat_fill(order, f"E-{order.number}-1")
            script.repeated(order, text=rng.choice(("", "as I said")))
        script.session(SessionEvent.DISCONNECTED, "cable")

    def match(self) -> None:
        buy, sell = self._pick(OrdStatus.PENDING_NEW), self._pick(OrdStatus.PENDING_NEW)
        if buy and sell and buy is not sell:
            self.script.match(buy, sell)

    def cancel_ourselves(self) -> None:
        if order := self._pick(OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
            self.script.canceled(order, self.script.cancel_ourselves(order))
