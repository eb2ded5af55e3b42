"""`oms config init`, `oms check`: the configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FINE, USAGE, console, emit, note, table, usage

group = typer.Typer(help="The configuration file.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="config", rich_help_panel=options.SETUP)
    app.command(rich_help_panel=options.SETUP)(check)


@group.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("oms.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    json: options.Json = False,
) -> None:
    """Write a commented oms.toml with every key."""
    from oms_actors.edges.settings import template

    how = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        # only for its owner: people put passwords into such files
        with open(path, "w", opener=lambda name, _: os.open(name, how, 0o600), encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        usage(f"{path} is already there: edit it, name another, or use --force to overwrite it")
    note(f"wrote {path}: edit it, then `oms check -c {path}`, then `oms run -c {path}`")
    if json:
        emit({"file": str(path)})


def check(
    config: options.ConfigFile = None, instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """List everything that is wrong with the configuration, or every value and where it comes from."""
    from oms_actors.edges import settings

    found, sources, problems = settings.examine(config, os.environ, instance)
    file = settings.find(config, os.environ)
    if json:
        emit({
            "ok": not problems,
            "file": str(file) if file else None,
            "problems": [problem._asdict() for problem in problems],
            "values": {} if problems else _with_sources(settings.values(found), sources),
        })  # fmt: skip
    elif problems:
        for problem in problems:
            note(str(problem))
        note(f"{len(problems)} problem{'s' * (len(problems) > 1)}")
    else:
        rows = ((key, shown(value), sources.get(key, "default")) for key, value in settings.values(found))
        table("", ("key", "value", "from"), rows)
        console().print(f"Fine: {file or 'no oms.toml, the defaults hold'}.")
    raise typer.Exit(USAGE if problems else FINE)


def _with_sources(values: Any, sources: dict[str, str]) -> dict[str, Any]:
    return {key: {"value": value, "source": sources.get(key, "default")} for key, value in values}


def shown(value: Any) -> str:
    """A value as oms.toml writes it."""
    import json

    return json.dumps(value, ensure_ascii=False)
