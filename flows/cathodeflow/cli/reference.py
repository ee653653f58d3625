"""The reference page of the command line: ``python -m cathodeflow.cli.reference > docs/reference/cli.md``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from cathodeflow.cli.app import build_app

HEADER = """# Commands

`cathodeflow` and `cflow` are the same program. This page is generated from it (`python -m cathodeflow.cli.reference`).

Exit codes: 0 done; 1 a calculation or model failed, or `doctor` found something broken; 2 the command line, a filter or
a definition cannot be used; 3 the store cannot be opened, read or written; 4 the campaign's state forbids it, or the
campaign stopped; 5 another driver holds the campaign; 6 something needed is not installed; 70 a fault of the
program; 130 interrupted.

Output to a pipe or a file is plain text without colours or cut lines; `NO_COLOR` switches colours off on a terminal.
Errors are one sentence on standard error; `cflow --debug …` shows the traceback.
"""


def render_reference() -> str:
    """Return the page as Markdown."""
    root = typer.main.get_command(build_app(None))
    return "\n".join([HEADER, *_sections(root, "cflow")]).rstrip() + "\n"


def _sections(command: Any, path: str) -> Iterator[str]:
    members = getattr(command, "commands", None)
    level = "##" if path.count(" ") == 1 else "###"
    if path != "cflow":
        yield f"{level} `{path}{_arguments(command)}`\n"
        yield f"{_paragraphs(command.help)}\n"
    options = [
        _option_row(parameter)
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name not in {"install_completion", "show_completion"}
    ]
    arguments = [_argument_row(parameter) for parameter in command.params if parameter.param_type_name == "argument"]
    if path == "cflow":
        yield "Options before a command:\n"
    rows = [row for row in [*arguments, *options] if row]
    if rows:
        yield "| | |\n|---|---|\n" + "\n".join(rows) + "\n"
    for name, member in (members or {}).items():
        yield from _sections(member, f"{path} {name}")


def _paragraphs(text: str | None) -> str:
    return inspect.cleandoc(text or "")


def _arguments(command: Any) -> str:
    names = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = (parameter.metavar or parameter.name.upper()).strip("[]")
            names.append(f" {name}" if parameter.required else f" [{name}]")
    return "".join(names)


def _argument_row(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    return f"| `{name}` | {_help(parameter)} |"


def _option_row(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    names = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))
    value = "" if parameter.is_flag else f" {_value_name(parameter)}"
    return f"| {names}{value} | {_help(parameter)} |"


def _value_name(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    return str(parameter.metavar or parameter.opts[0].lstrip("-").upper()).replace("|", " or ")


def _help(parameter: Any) -> str:
    text = (parameter.help or "").replace("|", "\\|")
    default = _default(parameter)
    environment = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
    return f"{text}{environment}{f' Default: {default}.' if default else ''}"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = getattr(parameter.default, "value", parameter.default)
    if value is None or value is False or parameter.required or callable(value):
        return ""
    return "the present folder" if value == Path() else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(render_reference())
