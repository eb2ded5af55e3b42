"""A mistake that a venue once made, put back into every desk under test that has this folder on its path: a venue whose
rings are new takes it that nobody waits for what it said before."""

from __future__ import annotations

import sys

if "oms_actors.actors.venue" in sys.orig_argv:
    from ipc import segment

    usual = segment.create

    def create(path: str, *arguments: object) -> segment.Segment:
        """If the words that say which reports are in the rings are new, so are the rings: all counts as sent."""
        made = usual(path, *arguments)  # type: ignore[arg-type]
        if path.endswith("/published"):
            words = made.view.cast("Q")
            words[1:] = memoryview(b"\xff" * 8 * (len(words) - 1)).cast("Q")
        return made

    segment.create = create
