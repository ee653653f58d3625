"""The command `cathodeflow` (`cflow`): its commands, and what an error looks like."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Literal, NoReturn

import typer

from cathodeflow import __version__
from cathodeflow.errors import CathodeflowError, DefinitionError, StoreError

DEBUG_VARIABLE = "CATHODEFLOW_DEBUG"
COMMANDS = (
    *("init", "doctor", "plan", "launch", "run", "ingest", "status", "log", "pause", "resume", "jobs", "resubmit"),
    *("gc", "query", "report", "dashboard", "model", "store", "export", "site"),
)
"""In the order of the help; each is a module of this room."""

GROUPS = frozenset({"jobs", "dashboard", "model", "store", "export", "site"})
"""Those with commands of their own."""

_MODULES = {"resume": "pause"}
UNEXPECTED_EXIT_CODE = 70  # sysexits' EX_SOFTWARE: a fault of this program, not of the request


def _help_style() -> Literal["rich"] | None:
    """Boxes and colours for people at a terminal, plain text for pipes and files."""
    return "rich" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cathodeflow {__version__}")
        raise typer.Exit


def _configure(
    debug: Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find battery electrodes: from a host crystal to an explained shortlist.

    A first campaign: `cflow init my-project --template demo`, `cflow model install megnet-2019`,
    `cflow launch my-project/campaign.yaml -p my-project`, `cflow run -p my-project`, `cflow report -p my-project`.
    """
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def build_app(help_style: Literal["rich"] | None, only: str | None = None) -> typer.Typer:
    """Assemble the commands.

    Parameters
    ----------
    help_style : "rich" or None
        For boxes and colours, None for plain text.
    only : str, optional
        The one command that is asked for; a word that is none assembles all.
    """
    app = typer.Typer(
        name="cathodeflow",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=help_style,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_configure,
        help=_configure.__doc__,
    )
    for name in [only] if only in COMMANDS else COMMANDS:
        module = import_module(f"cathodeflow.cli.{_MODULES.get(name, name)}")
        if name in GROUPS:
            app.add_typer(module.build(help_style), name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def _asked() -> str | None:
    """Return the command that is asked for: to assemble all of them takes longer than to answer `status`."""
    return next((word for word in sys.argv[1:] if not word.startswith("-")), None)


def main() -> None:
    """Run the command line: each expected error is one sentence on stderr and its exit code."""
    try:
        build_app(_help_style(), _asked())(prog_name=os.path.basename(sys.argv[0]) or "cathodeflow")  # noqa: PTH119
    except CathodeflowError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _fail(str(error), error.exit_code)
    except Exception as error:  # the last resort: nothing may end in a bare traceback
        if os.environ.get(DEBUG_VARIABLE):
            raise
        setting = _wrong_setting(error)
        if setting is not None:
            _fail(setting, DefinitionError.exit_code)
        trouble = _store_trouble(error)
        if trouble is not None:
            _fail(trouble, StoreError.exit_code)
        where = _write_traceback(error)
        kind = f"{type(error).__name__}: {error}".splitlines()[0]
        _fail(f"this should not have happened ({kind}); the traceback is in {where}", UNEXPECTED_EXIT_CODE)


def _wrong_setting(error: Exception) -> str | None:
    """Return a sentence when the error is about a setting of the environment, without importing pydantic."""
    if type(error).__name__ != "ValidationError" or getattr(error, "title", None) != "Settings":
        return None
    first = error.errors()[0]  # type: ignore[attr-defined]
    name = "CATHODEFLOW_" + "_".join(str(part) for part in first["loc"]).upper()
    return f"the environment variable {name} is {first['input']!r}: {first['msg']}; correct or unset it"


def _store_trouble(error: Exception) -> str | None:
    """Return a sentence when a MongoDB server is what refused, without importing pymongo for other errors."""
    if not type(error).__module__.startswith("pymongo"):
        return None
    from cathodeflow.storage.server import explain

    return explain(error)


def _write_traceback(error: Exception) -> str:
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="cathodeflow-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"cathodeflow {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n")
            traceback.print_exception(error, file=file)
    except OSError:
        return "no file, since none could be written; repeat with --debug"
    return file.name


def _fail(message: str, exit_code: int) -> NoReturn:
    sentence = " ".join(message.split())
    sys.stdout.flush()
    typer.secho("Error: ", fg=typer.colors.RED if not os.environ.get("NO_COLOR") else None, err=True, nl=False)
    typer.echo(sentence, err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
