"""`plan`: what a campaign will make and cost, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.cli.options import DEFINITION_FILE, DefinitionArgument, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.campaign.plan import Plan

PAPER_HOST = "nvpf"  # whose counts S0 gives


def plan(
    file: DefinitionArgument = Path(DEFINITION_FILE), project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """Count candidates, jobs, core-hours and disk of a campaign; nothing is written.

    Unit costs are those measured in the project when it has labels, else stated ones.
    """
    from dataclasses import asdict

    from cathodeflow.cli.output import print_json

    made = plan_of(file, project)
    if as_json:
        paper = {"paper": _paper()} if made.host == PAPER_HOST else {}
        print_json(asdict(made) | {"total_core_hours": made.total_core_hours} | paper)
        return
    print_plan(made)


def plan_of(file: Path, project: Path) -> Plan:
    """Read a definition and plan it, with the unit costs measured in the project where there are any."""
    from cathodeflow.campaign.definition_file import load_host, read_definition
    from cathodeflow.campaign.plan import make_plan
    from cathodeflow.settings import get_settings

    loaded = read_definition(file)
    host = load_host(loaded)
    costs = None
    if (project / get_settings().store_file).exists():
        from cathodeflow.campaign.unit_costs import measured_unit_costs
        from cathodeflow.cli.selection import open_existing

        costs = measured_unit_costs(open_existing(project), loaded.definition.engine.model_dump())
    return make_plan(loaded.definition, host, costs)


def print_plan(made: Plan) -> None:
    """Print a plan for people."""
    from cathodeflow.cli.output import print_table, say, size

    say(f"Campaign {made.campaign}: {made.candidates:,} candidates to predict per round")
    say()
    _print_space(made)
    say()
    print_table(["jobs", "number"], [[kind, number] for kind, number in made.jobs.items()])
    say()
    hours = [[stage, f"{value:.2f}"] for stage, value in made.core_hours.items()]
    print_table(["stage", "core-hours"], [*hours, ["total", f"{made.total_core_hours:.2f}"]])
    say(f"Unit costs: {made.cost_basis}. Disk: {size(made.disk_bytes)}.")


def _print_space(made: Plan) -> None:
    from cathodeflow.cli.output import print_table, say
    from cathodeflow.science.hosts.candidates import PAPER_COMPOUNDS, PAPER_SENTENCE, PAPER_STRUCTURES

    space = made.space
    rows = [[level.level, level.compositions, level.distinct, level.arrangements] for level in space.levels]
    rows.append(["all", space.compositions, space.distinct, space.arrangements])
    if made.host == PAPER_HOST:
        rows.append(["S0", PAPER_COMPOUNDS, None, PAPER_STRUCTURES])
    print_table(["level", "compositions", "distinct arrangements", "all arrangements"], rows)
    if made.host == PAPER_HOST:
        say(PAPER_SENTENCE)


def _paper() -> dict[str, Any]:
    from cathodeflow.science.hosts.candidates import PAPER_COMPOUNDS, PAPER_SENTENCE, PAPER_STRUCTURES

    return {"compounds": PAPER_COMPOUNDS, "structures": PAPER_STRUCTURES, "difference": PAPER_SENTENCE}
