"""`python -m supervisor spec.toml`: supervise what the file names, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from supervisor.logs import log_setup
from supervisor.specfile import SpecErrors, parse
from supervisor.supervisor import EXIT_BAD_SPEC, Supervisor


def main(arguments: list[str] | None = None) -> int:
    """The exit code: one of the EXIT_ codes of supervisor/supervisor.py."""
    options = _parser().parse_args(arguments)
    try:
        spec = parse(options.spec.read_text())
    except SpecErrors as errors:
        print(*(f"{options.spec}: {error}" for error in errors.errors), sep="\n", file=sys.stderr)
        return EXIT_BAD_SPEC
    except (OSError, UnicodeDecodeError) as error:
        print(f"{options.spec}: {error}", file=sys.stderr)
        return EXIT_BAD_SPEC
    if options.check:
        print(f"{options.spec}: {len(spec.children)} children, {spec.strategy}")
        return 0
    name = options.name or options.spec.stem
    runtime_dir = options.runtime_dir or Path(f"/dev/shm/supervisor-{os.getuid()}") / name
    return Supervisor(spec, runtime_dir, name, on_event=log_setup(options.log_file), log_dir=options.log_dir).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m supervisor", description="Start, watch and restart processes.")
    parser.add_argument("spec", type=Path, help="what to run, as TOML (see supervisor/README.md)")
    parser.add_argument("--name", help="of the instance; default: the file's name without its suffix")
    parser.add_argument("--runtime-dir", type=Path, help="default: /dev/shm/supervisor-<uid>/<name>")
    parser.add_argument("--log-dir", type=Path, help="one file per child for its output; default: our stderr")
    parser.add_argument("--log-file", type=Path, help="our own events as JSON lines, rotated; default: stderr")
    parser.add_argument("--check", action="store_true", help="only check the file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
