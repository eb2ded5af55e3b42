"""The tree of commands, and the one place where errors become a line and an exit code (1 failed, 2 usage).

Every group is a module of its own that imports what it needs inside its functions, so that `oms --help` is quick.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from oms_actors.cli import bench, calendar, config, control, demo, desk, journal, market, orders, send, setup, venue
from oms_actors.cli.output import FAILED, FINE, USAGE, Failed, emit, hide_broken_pipe, note
from oms_actors.errors import ConfigError, FieldError, OmsError

_CTRL_C = 130
"""How typer says that a command was interrupted."""

app = typer.Typer(
    name="oms",
    help="An order management system: orders go through separate, supervised processes to an exchange. "
    "Commands about a desk take --instance NAME (default: default); every command takes --json.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from oms_actors.version import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


for group in (demo, desk, send, orders, control, venue, market, config, calendar, journal, bench, setup):
    group.register(app)


def _reflow(tree: typer.Typer) -> None:
    """Help from docstrings: the lines of a paragraph belong together, and a bracket is a bracket, no markup."""
    for command in tree.registered_commands:
        paragraphs = inspect.cleandoc(command.callback.__doc__ or "").split("\n\n") if command.callback else []
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs).replace("[", "\\[")
    for sub in tree.registered_groups:
        if sub.typer_instance is not None:
            _reflow(sub.typer_instance)


_reflow(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits."""
    given = hoisted(list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Runs one command; returns its exit code. Whatever goes wrong is one line that says what to do."""
    try:
        code = app(args=arguments, prog_name="oms", standalone_mode=False)
        return _failed(arguments, ["interrupted"], FAILED) if code == _CTRL_C else code or FINE
    except TyperException as error:
        return _misused(arguments, error)
    except BrokenPipeError:
        hide_broken_pipe()
    except ConfigError as error:
        return _failed(arguments, error.problems, USAGE)
    except Failed as error:
        return _failed(arguments, [str(error)], error.code)
    except FieldError as error:
        return _failed(arguments, [str(error)], USAGE)
    except Exception as error:
        return _failed(arguments, [_sentence(error)], FAILED)
    return 0


def _misused(arguments: list[str], error: TyperException) -> int:
    """The command line makes no sense: what it should look like, and what is wrong."""
    context = getattr(error, "ctx", None)
    problem = error.format_message().rstrip(".")
    if not problem or getattr(error, "option_name", "") == "--json":  # every command has that one, no group has
        return _failed(arguments, ["a command is missing"], error.exit_code)
    if context is None:
        return _failed(arguments, [problem], error.exit_code)
    note(context.get_usage())
    return _failed(arguments, [f"{problem}{_given(error)} ({context.command_path} --help shows more)"], error.exit_code)


def _given(error: TyperException) -> str:
    """The value that was refused, where it was a range that refused it."""
    errors = getattr(error.__cause__, "errors", None)
    return f", not {errors()[0]['input']}" if callable(errors) else ""


def _failed(arguments: list[str], problems: list[str], code: int) -> int:
    for problem in problems:
        note(f"oms: {problem}")
    if "--json" in arguments:
        emit({"error": "; ".join(problems), "problems": problems})
    return code


def _sentence(error: Exception) -> str:
    """Refusals have names of ours or are the operating system's; everything else is a bug of ours."""
    from ipc.errors import IpcError

    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, (OmsError, IpcError)):
        return str(error)
    if os.environ.get("OMS_TRACEBACK"):
        traceback.print_exception(error)
    return f"a bug: {type(error).__name__}: {error} (OMS_TRACEBACK=1 shows where; please report it)"


def hoisted(arguments: list[str]) -> list[str]:
    """`oms --instance X status` means `oms status --instance X`: shared options may come before the command."""
    early: list[str] = []
    while arguments and (arguments[0] == "--json" or arguments[0].partition("=")[0] in ("--instance", "-i")):
        early.append(arguments.pop(0))
        if early[-1] in ("--instance", "-i") and arguments:
            early.append(arguments.pop(0))
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at] + early + arguments[at:]
