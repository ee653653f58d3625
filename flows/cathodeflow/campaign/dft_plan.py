"""What the runs of VASP (or of its rehearsal) of a campaign cost, kind by kind: core-hours, wall time, disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.vasp.file_sizes import file_sizes, zipped
from cathodeflow.campaign import dft_costs
from cathodeflow.campaign.dft_costs import Cell, Run
from cathodeflow.campaign.dft_runs import (
    cell_of,
    cell_of_level,
    reference_runs,
    relaxation_run,
    run_of,
    run_size,
    valence,
)
from cathodeflow.campaign.retention import kept_bytes
from cathodeflow.records.outcomes import Branch, Stage

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.calculators.vasp.parameters import VaspParameters
    from cathodeflow.calculators.vasp.preset import VaspPreset
    from cathodeflow.campaign.definition import CampaignDefinition
    from cathodeflow.science.hosts.host import Host

RELAXATION, REFERENCE = "relaxation", "reference"

LOBSTER_SHARE = 0.1  # of the static run it reads
BADER_POINT_S = 1e-5  # reading and dividing, per point of the density's grid, one processor
PDOS_S = 60.0  # reading one large vasprun.xml

REHEARSAL_SPACING = 0.2  # Å, of the stand-in's density
REHEARSAL_S: Mapping[str, float] = {
    RELAXATION: 25.0,
    REFERENCE: 15.0,
    Branch.STATIC: 60.0,
    Branch.GAP: 20.0,
    Branch.BONDING: 20.0,
    Branch.BADER: 10.0,
    Branch.DENSITY_DIFFERENCE: 60.0,
    Branch.PDOS: 30.0,
}
"""Seconds of a stand-in's run on one processor, parsing included: stated, replaced by what was measured."""


@dataclass(frozen=True)
class Calibration:
    """What runs of one kind have cost against the model.

    Attributes
    ----------
    ratio : float
        Median of measured over model.
    count : int
        Runs.
    spread : float
        Factor that two thirds of them lie within, up or down.
    """

    ratio: float
    count: int
    spread: float


@dataclass(frozen=True)
class DftRow:
    """One line of the table.

    Attributes
    ----------
    stage, kind : str
        Stage of the campaign; relaxation, reference or a branch.
    jobs : int
        How many.
    core_hours : float
        Of all.
    uncertainty : float
        Factor, up or down.
    basis : str
        What it stands on.
    written_bytes, kept_bytes : float
        Before and after `cflow gc`, compressed as atomate2 leaves them.
    measured : int
        Runs of this kind that it stands on; 0 for the model alone.
    """

    stage: str
    kind: str
    jobs: int
    core_hours: float
    uncertainty: float
    basis: str
    written_bytes: float
    kept_bytes: float
    measured: int = 0


@dataclass(frozen=True)
class _Priced:
    """A run on a cell: its model cost and its files."""

    seconds: float
    sizes: Mapping[str, float]


def dft_rows(
    definition: CampaignDefinition,
    host: Host,
    elements: Sequence[str],
    labels: int,
    validated: int,
    measured: Mapping[str, Calibration],
    cores: int,
) -> tuple[DftRow, ...]:
    """Price every kind of run of a campaign.

    Parameters
    ----------
    definition : CampaignDefinition
        With engine ``vasp`` or ``rehearsal``.
    host : Host
        Its host.
    elements : sequence of str
        Those of the substitution space.
    labels : int
        Relaxations for training.
    validated : int
        Compositions that are validated at most.
    measured : mapping of str to Calibration
        By kind of run; empty where nothing was measured.
    cores : int
        Processors of one run.

    Returns
    -------
    tuple of DftRow
        In the order of the stages.
    """
    parameters = parameters_of(definition)
    pricing = _Pricing(definition, parameters, cores)
    framework = {site.specie.symbol for level in host.levels for site in level.structure}
    cells = [cell_of_level(level, elements, parameters.preset) for level in host.levels]
    relaxed = [pricing.relaxation(cell) for cell in cells]
    rows = [
        pricing.row(Stage.REFERENCE, REFERENCE, [pricing.reference(e) for e in sorted(framework | set(elements))]),
        pricing.row(Stage.LABEL, RELAXATION, relaxed, labels / len(cells)),
        pricing.row(Stage.VALIDATE, RELAXATION, relaxed, validated),
    ]
    for branch in (Branch.STATIC, *map(Branch, definition.followups.branches)) if definition.followups.branches else ():
        runs = [
            pricing.branch(branch, cell, level.structure, host.working_ion)
            for cell, level in zip(cells, host.levels, strict=True)
        ]
        rows.append(pricing.row(Stage.FOLLOW_UP, branch.value, runs, validated))
    return tuple(_calibrated(row, measured, definition.engine.name) for row in rows)


def price_of(definition: CampaignDefinition, kind: str, structure: Structure, working_ion: str, cores: int) -> float:
    """Return what one run costs by the model, before anything measured scales it.

    Parameters
    ----------
    definition : CampaignDefinition
        With engine ``vasp`` or ``rehearsal``.
    kind : str
        ``relaxation`` or a branch.
    structure : Structure
        The crystal it runs on.
    working_ion : str
        Element that density differences take apart.
    cores : int
        Processors it runs on.

    Returns
    -------
    float
        Processors times seconds.
    """
    parameters = parameters_of(definition)
    pricing = _Pricing(definition, parameters, cores)
    cell = cell_of(structure, parameters.preset)
    if kind == RELAXATION:
        return pricing.relaxation(cell).seconds
    return pricing.branch(Branch(kind), cell, structure, working_ion).seconds


def parameters_of(definition: CampaignDefinition) -> VaspParameters:
    """Return the checked engine parameters of a definition."""
    from cathodeflow.calculators.vasp.parameters import read_parameters

    return read_parameters(definition.engine.parameters)


def _calibrated(row: DftRow, measured: Mapping[str, Calibration], engine: str) -> DftRow:
    own, relaxations = measured.get(row.kind), measured.get(RELAXATION)
    if own is not None:
        basis = f"{own.count} measured here, ×{own.ratio:.2g} of the {_stated(engine)}"
        hours = row.core_hours * own.ratio
        return replace(row, core_hours=hours, uncertainty=own.spread, basis=basis, measured=own.count)
    if relaxations is not None and engine == "vasp":
        basis = f"model, scaled ×{relaxations.ratio:.2g} as {relaxations.count} relaxations measured here"
        return replace(row, core_hours=row.core_hours * relaxations.ratio, basis=basis)
    return row


def _stated(engine: str) -> str:
    return "model" if engine == "vasp" else "stated seconds"


@dataclass(frozen=True)
class _Pricing:
    """Model costs of the runs of a definition."""

    definition: CampaignDefinition
    parameters: VaspParameters
    cores: int

    @property
    def _rehearsed(self) -> bool:
        return self.definition.engine.name == "rehearsal"

    def row(self, stage: Stage, kind: str, runs: Sequence[_Priced], times: float = 1.0) -> DftRow:
        """Add up runs, each made so many times."""
        retention = self.definition.retention
        patterns = {
            Stage.REFERENCE: retention.references,
            Stage.FOLLOW_UP: retention.follow_ups,
        }.get(stage, retention.labels)
        return DftRow(
            stage=stage.value,
            kind=kind,
            jobs=round(len(runs) * times),
            core_hours=sum(run.seconds for run in runs) * times / 3600,
            uncertainty=dft_costs.STATED_UNCERTAINTY,
            basis=_stated(self.definition.engine.name),
            written_bytes=sum(zipped(name, size) for run in runs for name, size in run.sizes.items()) * times,
            kept_bytes=sum(kept_bytes(run.sizes, patterns) for run in runs) * times,
        )

    def relaxation(self, cell: Cell) -> _Priced:
        """Price a label."""
        return self._run(RELAXATION, cell, self.parameters.preset, relaxation_run(cell, self.parameters))

    def reference(self, element: str) -> _Priced:
        """Price an element: all phases that are tried."""
        runs = [
            self._run(REFERENCE, cell, self.parameters.reference, run)
            for cell, run in reference_runs(element, self.parameters)
        ]
        sizes: dict[str, float] = {}
        for run in runs:
            for name, size in run.sizes.items():
                sizes[name] = sizes.get(name, 0.0) + size
        seconds = REHEARSAL_S[REFERENCE] if self._rehearsed else sum(run.seconds for run in runs)
        return _Priced(seconds, sizes)

    def branch(self, branch: Branch, cell: Cell, structure: Structure, working_ion: str) -> _Priced:
        """Price a branch of the follow-ups on a level's cell."""
        static, run = self._static(structure, cell)
        sizes = self._sizes(cell, run, static)
        if branch == Branch.STATIC:
            return self._run(branch, cell, static, run)
        if branch == Branch.GAP:
            hybrid = self._preset("hybrid")
            return self._run(branch, cell, hybrid, run_of(hybrid, cell))
        if branch == Branch.DENSITY_DIFFERENCE:
            return self._parts(cell, structure, static, working_ion)
        seconds = {
            Branch.BONDING: LOBSTER_SHARE * dft_costs.core_seconds(cell, run, self.cores),
            Branch.BADER: BADER_POINT_S * sizes.get("CHGCAR", 0.0) / 36,
        }.get(branch, PDOS_S)
        left = {"COHPCAR.lobster": 20e6, "job.log": 5e3} if branch == Branch.BONDING else {"job.log": 5e3}
        return _Priced(REHEARSAL_S[branch] if self._rehearsed else seconds, left)

    def _parts(self, cell: Cell, structure: Structure, preset: VaspPreset, working_ion: str) -> _Priced:
        """Price the static runs of the framework and of the working ions in the same cell."""
        ions = sum(site.specie.symbol == working_ion for site in structure)
        electrons = ions * valence(working_ion, preset)
        framework = replace(
            cell, atoms=cell.atoms - ions, electrons=cell.electrons - electrons, species=cell.species - 1
        )
        alone = replace(cell, atoms=ions, electrons=electrons, species=1)
        run = replace(run_of(preset, cell), bands=0.0)  # LOBSTER's bands are those of the whole
        parts = [self._run(Branch.DENSITY_DIFFERENCE, part, preset, run) for part in (framework, alone)]
        seconds = REHEARSAL_S[Branch.DENSITY_DIFFERENCE] if self._rehearsed else sum(part.seconds for part in parts)
        sizes = {name: sum(part.sizes.get(name, 0.0) for part in parts) for name in parts[0].sizes}
        core = {name: size for name, size in sizes.items() if not name.startswith("AECCAR")}
        return _Priced(seconds, core | {"density_difference.vasp": sizes.get("CHGCAR", 0.0) / 4})

    def _run(self, kind: str, cell: Cell, preset: VaspPreset, run: Run) -> _Priced:
        seconds = REHEARSAL_S[kind] if self._rehearsed else dft_costs.core_seconds(cell, run, self.cores)
        return _Priced(seconds, self._sizes(cell, run, preset))

    def _sizes(self, cell: Cell, run: Run, preset: VaspPreset) -> dict[str, float]:
        """Return the bytes of a run's files; stand-ins take a coarser grid and write no WAVECAR, CHG or POTCAR."""
        size = run_size(cell, run, preset)
        if not self._rehearsed:
            return file_sizes(size)
        first, second, third = (2 * ceil(length / REHEARSAL_SPACING / 2) for length in cell.lengths)
        sizes = file_sizes(replace(size, orbitals=False, density_grid=(first, second, third)))
        return {name: value for name, value in sizes.items() if name not in {"CHG", "AECCAR1", "POTCAR"}}

    def _preset(self, role: str, needed: Mapping[str, Any] | None = None) -> VaspPreset:
        from cathodeflow.jobs.followups.branch import preset_for

        return preset_for(role, self._followups(), needed)

    def _followups(self) -> dict[str, Any]:
        from cathodeflow.jobs.followups.branch import with_shared

        return with_shared(self.definition.followups.model_dump(), self.definition.engine.model_dump())

    def _static(self, structure: Structure, cell: Cell) -> tuple[VaspPreset, Run]:
        from cathodeflow.jobs.followups.static import needed_overrides

        needed = needed_overrides(structure, self._followups())
        preset = self._preset("static", needed)
        return preset, run_of(preset, cell)
