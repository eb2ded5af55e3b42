"""What the supervisor has to tell: one `Note` per thing that happened, for a log, a status view and people."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Final

_URL_PASSWORD: Final = re.compile(r"(://[^/\s:@]*:)[^/\s]*@")
_NAMED_SECRET: Final = re.compile(
    r"""(?i)(\w*(?:password|passwd|secret|token|api_?key)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)""")


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a log line; `child` is "" when it concerns the supervisor."""

    at_ns: int  # wall clock, ns since the epoch
    child: str
    what: str
    text: str


def print_note(note: Note) -> None:
    print(f"supervisor: {note.child or '-'}: {note.what} {note.text}".rstrip(), file=sys.stderr, flush=True)


def redact(text: str) -> str:
    """`text` without passwords: what a child says last may well hold the URL that it could not reach."""
    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", text))
