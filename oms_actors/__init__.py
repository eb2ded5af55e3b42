"""An order management system: orders travel through shared memory, each process is one actor.

The names below are all that an upstream or an exchange adapter needs. They are imported when first used, so that the
desk's own processes pay for what they need only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipc.errors import AlreadyLocked
    from oms_actors.desk import Desk
    from oms_actors.errors import ConfigError, DeskDown, Field, FieldError, NotSent, OmsError, Reason, WrongCaller
    from oms_actors.messages import (
        CancelOrder,
        CxlRejReason,
        ExchangeResponse,
        ExecType,
        Kind,
        ModifyOrder,
        NewOrder,
        OrderType,
        OrdStatus,
        Report,
        ReportFlag,
        ResponseType,
        Side,
        TimeInForce,
    )
    from oms_actors.upstream import RingFull, Upstream
    from oms_actors.version import __version__

__all__ = [
    "AlreadyLocked", "CancelOrder", "ConfigError", "CxlRejReason", "Desk", "DeskDown", "ExchangeResponse", "ExecType",
    "Field",
    "FieldError", "Kind", "ModifyOrder", "NewOrder", "NotSent", "OmsError", "OrdStatus", "OrderType", "Reason",
    "Report", "ReportFlag", "ResponseType", "RingFull", "Side", "TimeInForce", "Upstream", "WrongCaller", "__version__",
]  # fmt: skip

_HOMES = {
    "ipc.errors": ("AlreadyLocked",),
    "oms_actors.errors": (
        "ConfigError", "DeskDown", "Field", "FieldError", "NotSent", "OmsError", "Reason", "WrongCaller",
    ),
    "oms_actors.desk": ("Desk",),
    "oms_actors.upstream": ("RingFull", "Upstream"),
    "oms_actors.version": ("__version__",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "oms_actors.messages")), name)
    globals()[name] = value
    return value
