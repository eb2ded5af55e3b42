"""What is said through mailboxes: the control plane's messages, each idempotent, for delivery is at least once.

A new command is a Struct with a tag of its own, added to `Command`; tags are never reused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Answer with your counters, as a dict."""


class SessionChanged(msgspec.Struct, frozen=True, tag="session"):
    """The session page has changed: look at it now, not at the next tick."""


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """`desk.json` has changed: take over what can change at run time. `words`: who changed what, for the record.
    Answer of intake and sender: true."""

    words: str = ""


class Reconnect(msgspec.Struct, frozen=True, tag="reconnect"):
    """Drop the exchange connection and make it again."""


class MassCancel(msgspec.Struct, frozen=True, tag="mass_cancel"):
    """To the sender: cancel every order that fits all that is named. Answer: how many."""

    upstream: int = 0
    account: str = ""
    symbol: str = ""


class Why(msgspec.Struct, frozen=True, tag="why"):
    """To the sender: how does this order of ours stand? Answer: `core.release.Standing` as a dict, or None where the id
    is not known (any more)."""

    client_order_id: str
    account: str = ""


class WhoIsThere(msgspec.Struct, frozen=True, tag="upstreams"):
    """To intake: answer with every upstream ever seen, name → [number, stopped by the repeated-execution guard]."""


class ReEnable(msgspec.Struct, frozen=True, tag="re_enable"):
    """To the sender: an upstream that the repeated-execution guard has stopped may go on. Answer: had it?"""

    upstream: int


class Resolve(msgspec.Struct, frozen=True, tag="resolve"):
    """To the sender: the operator knows what became of a request in doubt. Answer: was it in doubt?"""

    client_order_id: str
    account: str = ""
    sent: bool = False


class Trading(msgspec.Struct, frozen=True, tag="trading"):
    """To the venue: halt, resume or close a symbol or (none) the whole market, or end its day."""

    do: Literal["halt", "resume", "close", "end_day"]
    symbol: str = ""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End in order. The shell handles it; a role never sees it."""


Command = (
    Stats | SessionChanged | Reload | Reconnect | MassCancel | Why | WhoIsThere | ReEnable | Resolve | Trading | Stop
)  # fmt: skip


class Mail(msgspec.Struct, array_like=True, frozen=True):
    """A command as it lies in a mailbox. `reply_to` names the asker's reply box, a file in the same directory;
    after `deadline_ns` (monotonic) nobody waits for the answer any more, and the command is not carried out."""

    command: Command
    reply_to: str = ""
    correlation: int = 0
    deadline_ns: int = 0


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """The answer to the question `correlation`; a non-empty `error` says why there is none."""

    correlation: int
    value: Any = None
    error: str = ""


encode = msgspec.msgpack.Encoder().encode
decode_mail = msgspec.msgpack.Decoder(Mail).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
