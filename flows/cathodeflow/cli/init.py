"""`init`: a folder with a commented campaign definition."""

from __future__ import annotations

from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from cathodeflow.cli.options import DEFINITION_FILE
from cathodeflow.errors import CampaignError


class Template(StrEnum):
    """Definitions to start from."""

    DEMO = "demo"
    PAPER = "paper"
    VASP = "vasp"
    OWN_HOST = "own-host"


NEXT_STEPS = {
    Template.DEMO: "It runs as it is, in about ten minutes on two cores.",
    Template.PAPER: "It is the published campaign at full size: look at its plan before launching it.",
    Template.VASP: "It is the published campaign with VASP: `cflow doctor` says what this machine lacks for it.",
    Template.OWN_HOST: "Put your crystals beside it and edit the host section.",
}


def template_text(template: Template) -> str:
    """Return a packaged definition."""
    return resources.files("cathodeflow.cli").joinpath("templates", f"{template}.yaml").read_text(encoding="utf-8")


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the project; made when absent.")] = Path(),
    template: Annotated[Template, typer.Option("--template", "-t", help="Definition to start from.")] = Template.DEMO,
) -> None:
    """Write a commented campaign.yaml to start from.

    demo: a small campaign on the packaged NVPF host. paper: the published one at full size, with a
    potential. vasp: the same with VASP and the electronic follow-ups. own-host: your own crystals.
    """
    from cathodeflow.cli.output import say, write_text

    path = folder / DEFINITION_FILE
    if path.exists():
        raise CampaignError(f"{path} exists already and is left as it is: name another folder, or move that file away")
    if folder.exists() and not folder.is_dir():
        raise CampaignError(f"{folder} is a file: name a folder for the project")
    write_text(path, template_text(template))
    option = "" if folder == Path() else f" -p {folder}"
    say(f"Wrote {path} ({template} template). {NEXT_STEPS[template]}")
    say("Next:")
    steps = {
        "cflow doctor": "what is installed, and what is missing",
        "cflow model install megnet-2019": "once per machine: the network that is retrained",
        f"cflow plan {path}": "what the campaign makes and costs",
        f"cflow launch {path}{option}": "write it into the store",
        f"cflow run{option}": "work on it, here and now",
    }
    width = max(map(len, steps))
    for command, what in steps.items():
        say(f"  {command:<{width}}  {what}")
