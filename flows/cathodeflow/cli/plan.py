"""`plan`: what a campaign will make and cost, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cathodeflow.cli.options import DEFINITION_FILE, DefinitionArgument, JsonOption, ProjectOption

if TYPE_CHECKING:
    from cathodeflow.campaign.dft_costs import WorkedExample
    from cathodeflow.campaign.plan import Plan

PAPER_HOST = "nvpf"  # whose counts S0 gives


def plan(
    file: DefinitionArgument = Path(DEFINITION_FILE),
    project: ProjectOption = Path(),
    cores: Annotated[
        int | None,
        typer.Option(
            "--cores", min=1, metavar="N", help="Processors there are, for wall time.", show_default="one run's"
        ),
    ] = None,
    cores_per_run: Annotated[
        int | None,
        typer.Option(
            "--cores-per-run",
            min=1,
            metavar="N",
            help="Processors of one run of VASP.",
            show_default="the definition's, else 68",
        ),
    ] = None,
    worked_example: Annotated[
        bool, typer.Option("--worked-example", help="Also print the paper's sum for computing every structure.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Count candidates, jobs, core-hours and disk of a campaign; nothing is written.

    Unit costs are those measured in the project when it has labels, else stated ones. For engine vasp a table follows:
    each kind of run with its core-hours, uncertainty, wall time and disk, and what these assume.
    """
    from dataclasses import asdict, replace

    from cathodeflow.campaign import dft_costs
    from cathodeflow.cli.output import print_json

    made = plan_of(file, project, cores_per_run)
    if worked_example:
        made = replace(made, example=dft_costs.worked_example())
    if as_json:
        paper = {"paper": _paper()} if made.host == PAPER_HOST else {}
        print_json(asdict(made) | {"total_core_hours": made.total_core_hours} | paper)
        return
    print_plan(made, cores)


def plan_of(file: Path, project: Path, cores_per_run: int | None = None) -> Plan:
    """Read a definition and plan it, with the unit costs measured in the project where there are any."""
    from cathodeflow.calculators.engines import PROGRAMS
    from cathodeflow.campaign.definition_file import load_host, read_definition
    from cathodeflow.campaign.plan import make_plan
    from cathodeflow.storage.project_file import is_project

    loaded = read_definition(file)
    host = load_host(loaded)
    costs, measured = None, None
    if is_project(project):
        from cathodeflow.campaign.unit_costs import measured_dft_costs, measured_unit_costs
        from cathodeflow.cli.selection import open_existing

        opened = open_existing(project)
        costs = measured_unit_costs(opened, loaded.definition.engine.model_dump())
        if loaded.definition.engine.name in PROGRAMS:
            measured = measured_dft_costs(opened, loaded.definition, host.working_ion)
    return make_plan(loaded.definition, host, costs, measured, cores_per_run)


def print_plan(made: Plan, cores: int | None = None) -> None:
    """Print a plan for people.

    Parameters
    ----------
    made : Plan
        The plan.
    cores : int, optional
        Processors there are, for wall time; those of one run without.
    """
    from cathodeflow.cli.output import print_table, say, size

    say(f"Campaign {made.campaign}: {made.candidates:,} candidates to predict per round")
    say()
    _print_space(made)
    say()
    print_table(["jobs", "number"], [[kind, number] for kind, number in made.jobs.items()])
    say()
    hours = [[stage, f"{value:.2f}"] for stage, value in made.core_hours.items()]
    print_table(["stage", "core-hours"], [*hours, ["total", f"{made.total_core_hours:.2f}"]])
    store = "Disk of the store" if made.dft else "Disk"
    say(f"Unit costs: {made.cost_basis}. {store}: {size(made.disk_bytes)}.")
    if made.dft:
        _print_runs(made, cores or made.cores_per_run)
    if made.example is not None:
        _print_example(made.example)


def _print_runs(made: Plan, cores: int) -> None:
    from cathodeflow.cli.output import print_table, say, size

    say()
    columns = ["stage", "runs", "number", "core-hours", "within ×/÷", f"wall h, {cores} cores", "disk", "kept"]
    rows = [
        [
            row.stage.replace("_", " "),
            row.kind.replace("_", " "),
            row.jobs,
            f"{row.core_hours:.1f}",
            f"{row.uncertainty:.1f}",
            f"{row.core_hours / cores:.1f}",
            size(row.written_bytes),
            size(row.kept_bytes),
        ]
        for row in made.dft
    ]
    hours = sum(row.core_hours for row in made.dft)
    disk, kept = (sum(getattr(row, name) for row in made.dft) for name in ("written_bytes", "kept_bytes"))
    number = sum(row.jobs for row in made.dft)
    total = ["total", None, number, f"{hours:.1f}", None, f"{hours / cores:.1f}", size(disk), size(kept)]
    print_table(columns, [*rows, total])
    for row in made.dft:
        if "measured here" in row.basis:
            say(f"{row.stage.replace('_', ' ')}, {row.kind.replace('_', ' ')}: {row.basis}")
    say("This assumes:")
    for sentence in made.assumptions:
        say(f"- {sentence}")


def _print_example(example: WorkedExample) -> None:
    from cathodeflow.cli.output import say

    say()
    say(
        f"S0's sum for computing everything: {example.structures:,} structures × {example.wall_h:g} h on "
        f"{example.cores} processors, one after another, are {example.wall_years:.1f} years of wall time and "
        f"{example.core_hours:,.0f} core-hours (a year has 8,766 h; S0 says “at least 20 years”)."
    )


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
