"""Frames between processes: rings, doorbells, mailboxes, pages. Knows frames, not orders."""
