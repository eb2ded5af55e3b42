"""Logging of one process: text to stderr, or JSON lines in rotated files of its own. Passwords never get there.

Each process writes its own file: a logging queue whose lock holder dies would stop everybody's logging.

A secret is known by what stands before it, or by itself: the values of the configuration's secrets are masked wherever
they turn up, also in what an adapter prints.
"""

from __future__ import annotations

import collections
import io
import json
import logging
import logging.handlers
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, quote_plus, unquote

FILE_BYTES_MAX = 16 << 20
FILES_KEPT = 5
LAST_LINES = 50
LAST_LINES_BYTES = 1 << 16

_SECRET = re.compile(
    r"""(?ix)
    (?P<key> \b[\w.-]* (?:password|passwd|passphrase|secret|token|api[_-]?key) ["']? \s* [=:] \s* (?:b(?=["']))? )
    (?: "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | [^\s,;&)}\]]+ )
    | (?P<url> ://[^/\s:@]*: ) [^@\s]+ (?=@)
    | (?P<fix> (?: (?<![\w.]) | (?<=\\x01) | (?<=\^A) ) (?:554|925|1402|1404) = ) (?: (?!\\x01|\^A) [^\x01|\s] )+
    """
)
"""The last one: Password, NewPassword and their encrypted kin in a FIX message, however its SOH is shown."""
_SECRET_KEY = re.compile(r"(?i)(password|passwd|passphrase|secret|token|api[_-]?key)$")
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^@\s]+)@")
SECRET_CHARS_MIN = 4
"""A shorter secret is masked only where its key stands before it: else it would mask half of the log."""
_known: re.Pattern[str] | None = None


def redact(text: str) -> str:
    """`text` with the values of passwords, secrets, tokens and API keys replaced by ***."""
    if _known is not None:
        text = _known.sub("***", text)
    return _SECRET.sub(lambda match: (match["key"] or match["url"] or match["fix"]) + "***", text)


def know(secrets: Iterable[str]) -> None:
    """From now on these texts are masked wherever they are, also as Python or a URL would quote them."""
    global _known
    forms = {form for text in secrets if len(text) >= SECRET_CHARS_MIN for form in _quoted(text)}
    _known = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None


def _quoted(text: str) -> set[str]:
    plain = repr(text)[1:-1]
    quotes = plain.replace("'", "\\'")  # as repr writes it beside a double quote
    return {text, plain, quotes, json.dumps(text)[1:-1], quote(text, safe=""), quote_plus(text)}


def secrets_of(settings: object, key: str = "") -> Iterator[str]:
    """The secrets in a tree of dicts and lists: texts whose key says so, and the passwords in URLs."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from secrets_of(value, str(name))
    elif isinstance(settings, list):
        for value in settings:
            yield from secrets_of(value, key)
    elif isinstance(settings, str):
        if _SECRET_KEY.search(key):
            yield settings
        for found in _URL_PASSWORD.findall(settings):
            yield from {found, unquote(found)}


class Redacted(io.TextIOBase):
    """Stands before stdout or stderr and masks secrets, line by line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._line = (self._line + text).rpartition("\n")
            if newline:
                self._stream.write(redact(whole + newline))
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            self._stream.write(redact(self._line))
            self._line = ""
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


def redact_output() -> None:
    """What this process prints from now on is masked like its log."""
    sys.stdout, sys.stderr = Redacted(sys.stdout), Redacted(sys.stderr)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "role": self._role,
            "pid": record.process,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line)


def last_lines(path: Path) -> list[str]:
    """The last lines of a process's log or output, as text; none if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, io.SEEK_END) - LAST_LINES_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [redact(_plain(line)) for line in lines[-LAST_LINES:]]


def _plain(line: str) -> str:
    """A JSON line as the text that it would have been."""
    try:
        found = json.loads(line)
        head = f"{found['time']} {found['level']} {found['role']}[{found['pid']}] {found['logger']}: {found['message']}"
    except (ValueError, KeyError, TypeError):
        return line
    return head + f"\n{found['traceback']}" if "traceback" in found else head


class LastLines(logging.Handler):
    """The last lines, for a crash report."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def configure(role: str, level: str = "INFO", folder: Path | None = None) -> LastLines:
    """Set up the root logger: text to stderr, or, given a folder, JSON lines into `<folder>/<role>.jsonl`, rotated
    at 16 MB, 5 kept. Returns the handler that keeps the last lines. Raises OSError, ValueError (level)."""
    text = _Text(f"%(asctime)s %(levelname)s {role}[%(process)d] %(name)s: %(message)s")
    last = LastLines()
    last.setFormatter(text)
    output: logging.Handler
    if folder is None:
        output = logging.StreamHandler()
        output.setFormatter(text)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{role}.jsonl"
        output = logging.handlers.RotatingFileHandler(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT)
        output.setFormatter(_Json(role))
    root = logging.getLogger()
    root.handlers[:] = [output, last]
    root.setLevel(level)
    logging.raiseExceptions = False  # a full disk stops the log, not the actor
    return last
