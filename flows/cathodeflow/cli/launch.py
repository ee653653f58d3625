"""`launch`: write a campaign into a project's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cathodeflow.cli.options import DEFINITION_FILE, DefinitionArgument, DryRunOption, ProjectOption


def launch(
    file: DefinitionArgument = Path(DEFINITION_FILE),
    project: ProjectOption = Path(),
    dry_run: DryRunOption = False,
    workers_elsewhere: Annotated[
        bool, typer.Option("--workers-elsewhere", help="Do not ask for VASP and its like here: workers have them.")
    ] = False,
) -> None:
    """Check a definition and write its campaign into the project. `cflow run` then works on it.

    The project folder is made when absent. A name that exists is refused, and so is what this machine cannot run.
    """
    from cathodeflow.campaign.definition_file import load_host, read_definition
    from cathodeflow.cli.output import note, say
    from cathodeflow.cli.selection import warn_of_unknown_variables

    warn_of_unknown_variables()
    if dry_run:
        from cathodeflow.cli.plan import plan_of, print_plan

        print_plan(plan_of(file, project))
    loaded = read_definition(file)
    host = load_host(loaded)

    from cathodeflow.campaign.launch import launch as launch_campaign
    from cathodeflow.campaign.launch import prepare
    from cathodeflow.campaign.readiness import missing_network, require_ready
    from cathodeflow.storage.connection import create_project

    prepare(loaded, host)  # refuses what cannot run before the project folder is made
    if not workers_elsewhere:
        require_ready(loaded.definition, host)
        if (warning := missing_network(loaded.definition)) is not None:
            note(f"Warning: {warning}")
    if dry_run:
        say("Dry run: nothing was written.")
        return
    record = launch_campaign(create_project(project), loaded, host)
    option = "" if project == Path() else f" -p {project}"
    say(f"Launched {record.id} in {project.absolute()}. Next: cflow run{option}")
