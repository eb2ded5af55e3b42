"""`oms doctor`, `oms service unit`, `oms layout`: a machine and its C programs made ready."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from oms_actors.cli import options
from oms_actors.cli.output import FAILED, FINE, emit, table, usage
from oms_actors.cli.places import data_dir

service = typer.Typer(help="As a service of the system.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(rich_help_panel=options.SETUP)(doctor)
    app.command(rich_help_panel=options.SETUP)(layout)
    app.add_typer(service, name="service", rich_help_panel=options.SETUP)


def doctor(
    config: options.ConfigFile = None, instance: options.Instance = options.DEFAULT, json: options.Json = False
) -> None:
    """Check whether this machine is fit for a desk: shared memory, disk, clock, limits, versions, leftovers."""
    from rich.text import Text

    from oms_actors.doctor import run_checks
    from oms_actors.instance import runtime_base

    checks = run_checks(runtime_base(), data_dir(config, instance, must_exist=False))
    failed = any(check.status == "fail" for check in checks)
    if json:
        emit({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        colors = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        table("", ("", "check", "found", "advice"), (
            (Text(check.status, colors[check.status]), check.name, check.text, check.advice) for check in checks
        ))  # fmt: skip
    raise typer.Exit(FAILED if failed else FINE)


def layout(
    c: Annotated[bool, typer.Option("--c", help="The C header: all that a C upstream needs.")] = False,
    c_example: Annotated[bool, typer.Option("--c-example", help="A program that uses it.")] = False,
    json: options.Json = False,
) -> None:
    """Print the layout of records and rings for upstreams in C.

    oms layout --c > oms.h; oms layout --c-example > example.c; cc -O2 -o example example.c
    """
    from oms_actors.edges import layout as source

    if c == c_example:
        usage("choose one of --c (the header) and --c-example (a program on it)")
    text = source.c_header() if c else source.c_example()
    _print("c" if c else "c_example", text, json)


def _print(name: str, text: str, json: bool) -> None:
    """A file for stdout, as it is or as an object's one value."""
    if json:
        emit({name: text})
    else:
        print(text, end="")


@service.command()
def unit(
    user: Annotated[str, typer.Option(help="User that runs it (default: you).")] = "",
    config: options.ConfigFile = None,
    instance: options.Instance = options.DEFAULT,
    json: options.Json = False,
) -> None:
    """Print a hardened systemd unit for this desk.

    Save it as /etc/systemd/system/oms.service. Passwords do not belong into it: everybody can read a unit. Put
    OMS_SESSION_PASSWORD=... into a file that only root can read, and name that with EnvironmentFile= in a drop-in.
    """
    from oms_actors.edges import settings
    from supervisor.service import unit_file

    file = settings.find(config, os.environ)
    script = Path(sys.executable).with_name("oms")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "oms_actors.cli"]
    command += ["run", "--instance", instance]
    if file:
        command += ["--config", str(file.absolute())]
    data = data_dir(config, instance, must_exist=False)
    runtime = os.environ.get("OMS_RUNTIME_DIR")
    text = unit_file(
        command, user=user or _user(), working_dir=Path.cwd(), writable=[data.parent],
        description=f"OMS desk {instance}", environment={"OMS_RUNTIME_DIR": runtime} if runtime else None,
    )  # fmt: skip
    _print("unit", text, json)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
