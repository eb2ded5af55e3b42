"""What is said to the simulated venue besides orders: logons, questions, trading states. Records of 256 bytes."""

from __future__ import annotations

import struct
from enum import IntEnum

from oms_actors.messages import ACCOUNT_MAX, ID_MAX, Kind, SessionEvent, text_of
from oms_actors.record import SESSION, VERSION

COMMAND = struct.Struct("<BBHI8x16s36s188x")
"""A COMMAND on the link: kind, version, verb, 0, account, client order id."""
NAME_MAX, PASSWORD_MAX = 48, 64


class Verb(IntEnum):
    """What a COMMAND on the link asks for."""

    QUERY = 1
    MASS_CANCEL = 2
    CONCURRENT_CALL = 3
    """Two threads called the adapter at once: for the venue's own record."""
    # 4-7: the operator's; a symbol in place of the client order id, none = all
    HALT = 4
    RESUME = 5
    CLOSE = 6
    END_DAY = 7
    REFUSE = 8
    """Stands for a NEW that the venue refuses for no reason (`[venue.faults]`)."""


def encode_session(event: SessionEvent, username: str, password: str = "") -> bytes:
    """A logon or logout; FieldError if the names do not fit."""
    words = text_of("username", username, 48) + b"\0" + text_of("password", password, 64, empty=True)
    return SESSION.pack(Kind.SESSION, VERSION, event, 0, 0, 0, 0, 0, 0, words)


def decode_session(data: bytes) -> tuple[int, str, str]:
    """(event, username, password) of a logon or logout."""
    event, words = SESSION.unpack(data)[2], SESSION.unpack(data)[9]
    username, _, password = words.rstrip(b"\0").partition(b"\0")
    return event, username.decode("ascii", "replace"), password.decode("ascii", "replace")


def encode_command(verb: Verb, account: str = "", client_order_id: str = "") -> bytes:
    """A COMMAND; FieldError if the ids do not fit."""
    return COMMAND.pack(
        Kind.COMMAND, VERSION, verb, 0, text_of("account", account, ACCOUNT_MAX, empty=True),
        text_of("client_order_id", client_order_id, ID_MAX, empty=True),
    )  # fmt: skip
