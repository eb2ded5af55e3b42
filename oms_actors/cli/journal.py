"""`oms journal …`: looking at the journals, also while the desk runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, Failed, emit, note, size, table, time_of
from oms_actors.cli.places import data_dir

group = typer.Typer(help="The journals: what was decided, sent and heard, in order.", no_args_is_help=True)

Role = Annotated[str, typer.Argument(help="Whose journal: intake, sender or venue.")]
Roles = Annotated[list[str] | None, typer.Argument(help="Whose journals (default: all).", metavar="ROLE...")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="journal", rich_help_panel=options.SETUP)
    app.command(rich_help_panel=options.SETUP)(replay)


@group.command()
def cat(
    role: Role,
    first: Annotated[int, typer.Option("--from", metavar="SEQUENCE", help="First record.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="How many records (default: all).")] = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per record.")] = False,
) -> None:
    """Print the records of a journal, one per line."""
    from oms_actors import journal_tools

    folder, _ = _journals(config, instance, [role])
    for entry in journal_tools.cat(folder, role, first, limit):
        if json:
            emit({"sequence": entry.sequence, "kind": entry.kind, "wall_ns": entry.wall_ns, **entry.fields})
        else:
            fields = " ".join(f"{name}={value}" for name, value in entry.fields.items())
            sys.stdout.write(f"{entry.sequence:>9} {time_of(entry.wall_ns)} {entry.kind:<13} {fields}\n")


@group.command()
def verify(
    roles: Roles = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Check every byte of the journals that was ever durable."""
    from oms_actors import journal_tools

    folder, wanted = _journals(config, instance, roles)
    found = [journal_tools.verify(folder, role) for role in wanted]
    if json:
        emit({"ok": not any(each.problems for each in found), "journals": [_fields(each) for each in found]})
    else:
        table("", ("journal", "segments", "frames", "records", "size", "tail bytes", ""), (
            (each.role, each.segments, each.frames, each.records, size(each.bytes), each.tail_bytes,
             "damaged" if each.problems else "fine") for each in found
        ), right=("segments", "frames", "records", "size", "tail bytes"))  # fmt: skip
        for each in found:
            for problem in (*each.problems, *(f"{name}: was put aside by a recovery" for name in each.lost)):
                note(problem)
    raise typer.Exit(FAILED if any(each.problems for each in found) else FINE)


@group.command()
def stat(
    roles: Roles = None,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Show the files of the journals: what is in them, from when to when."""
    from oms_actors import journal_tools

    folder, wanted = _journals(config, instance, roles)
    found = [each for role in wanted for each in journal_tools.stat(folder, role)]
    if json:
        emit({"segments": [_fields(each) for each in found]})
        return
    table("", ("segment", "used", "of", "frames", "first record", "next", "from", "to", "for recovery", ""), (
        (each.name, size(each.used_bytes), size(each.file_bytes), each.frames, each.first_sequence, each.next_sequence,
         time_of(each.first_wall_ns), time_of(each.last_wall_ns), "needed" if each.recovery else "", each.problem)
        for each in found
    ), right=("used", "of", "frames", "first record", "next"))  # fmt: skip


def _journals(config: Path | None, instance: str, roles: list[str] | None) -> tuple[Path, list[str]]:
    """The folder and whose journals are wanted; Failed for one that is not there."""
    from oms_actors import journal_tools

    folder = data_dir(config, instance) / "journal"
    there = journal_tools.roles(folder)
    for role in roles or ():
        if role not in there:
            raise Failed(f"{folder}: no journal of {role!r}, there are {', '.join(there) or 'none'}")
    return folder, roles or there


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__struct_fields__}


def replay(
    folder: Annotated[Path | None, typer.Argument(metavar="DATA_DIR", help="An instance's data directory.")] = None,
    snapshot: Annotated[bool, typer.Option("--snapshot", help="Begin at the newest snapshot.")] = False,
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Fold the journals through the desk's own cores; print the state that they say and its hash, equal every time."""
    import msgspec

    from oms_actors.edges.journal import JournalError
    from oms_actors.replay import replay as fold

    try:
        found = fold(folder or data_dir(config, instance), snapshot)
    except JournalError as error:
        raise Failed(str(error)) from None
    fields = msgspec.to_builtins(found)
    if json:
        emit(fields)
        return
    orders = ", ".join(f"{count:,} {phase.lower()}" for phase, count in sorted(found.orders.items()))
    rows = [(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
            for name, value in fields.items() if name != "orders"]  # fmt: skip
    table("", ("", "state"), (*rows, ("orders", orders or "none")))
