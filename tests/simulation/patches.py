"""Putting something else in the place of a function or class, wherever the product has imported it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

PRODUCT = ("oms_actors", "ipc")


class Patches:
    """Swaps that `undo` takes back."""

    def __init__(self) -> None:
        self._undo: list[tuple[ModuleType, str, Any]] = []

    def swap(self, original: Any, substitute: Any) -> None:
        """Every name in the product's loaded modules that stands for `original` now stands for `substitute`."""
        for name, module in list(sys.modules.items()):
            if name.split(".")[0] in PRODUCT:
                for key, value in list(vars(module).items()):
                    if value is original:
                        self.put(module, key, substitute)

    def put(self, module: ModuleType, key: str, value: Any) -> None:
        """One name of one module."""
        self._undo.append((module, key, getattr(module, key)))
        setattr(module, key, value)

    def undo(self) -> None:
        """Everything as it was."""
        for module, key, value in reversed(self._undo):
            setattr(module, key, value)
        self._undo.clear()
