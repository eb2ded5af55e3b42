"""The supervisor's own log: lines on stderr, or JSON lines in a file that is rotated.

Each child writes its own log. A shared one would need a lock, and a child killed while it holds that stops them all.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
from collections.abc import Callable
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from supervisor.notes import Note, print_note

LOG_BYTES_MAX: Final = 10_000_000
LOG_FILES_MAX: Final = 5  # besides the current one


def log_setup(path: Path | None = None) -> Callable[[Note], None]:
    """A sink for `Supervisor(on_event=...)`: stderr, or the file at `path` (mode 0600). Raises OSError."""
    if path is None:
        return print_note
    handler = _PrivateFiles(path, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_MAX)
    logger = logging.Logger("supervisor")  # of its own: the host program's logging stays as it is
    logger.addHandler(handler)
    return lambda note: logger.info("%s", _json(note))


class _PrivateFiles(logging.handlers.RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))


def _json(note: Note) -> str:
    at = datetime.fromtimestamp(note.at_ns / 1e9, UTC).isoformat(timespec="microseconds")
    return json.dumps({"time": at, "child": note.child, "what": note.what, "text": note.text}, ensure_ascii=False)
