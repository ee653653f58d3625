"""The job that computes the band gap by HSE06 at the k-points of the band edges (S0 section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.jobs.followups.branch import (
    Found,
    branch_output,
    overrides_of,
    preset_for,
    static_folder,
)
from cathodeflow.records.followup import EdgesPart
from cathodeflow.records.outcomes import Branch

if TYPE_CHECKING:
    from cathodeflow.science.electronic.band_edges import BandEdge, BandEdges

HYBRID_FOLDER = "hybrid"
_SAME_STATE = 0.5
"""Bohr magnetons per cell; total moments farther apart are of two magnetic states (a gap makes them whole numbers)."""
_NO_GAP = 1e-3  # eV, `science.electronic.band_edges` calls less no gap


@job
def gap(
    static: dict[str, Any], crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]
) -> dict[str, Any]:
    """Compute the gap with HSE06 where the static run has its band edges.

    The hybrid run starts from the static run's density. A cell that the static run finds to be a metal has no edges to
    compute: its gap is that of the static run, zero, and no hybrid run is made.

    Parameters
    ----------
    static : dict
        Output of `jobs.followups.static.static`.
    crystal, engine, followups : dict
        As there.

    Returns
    -------
    dict
        Fields of `records.followup.FollowUpRecord`, without what only the campaign knows.

    Raises
    ------
    CalculationError
        The hybrid run failed in a way that another attempt may not repeat.
    DefinitionError
        An override that no preset has.
    """
    return branch_output(
        Branch.GAP,
        engine,
        followups,
        lambda: read_edges(static_folder(static)),
        lambda edges: _hybrid(edges, static, crystal, engine, followups),
        static=static,
    )


def read_edges(folder: Path) -> BandEdges:
    """Return the band edges of a run, points without weight included.

    Raises
    ------
    CalculationError
        EIGENVAL is missing or damaged, or holds no empty band.
    """
    from cathodeflow.calculators.vasp.electronic_outputs import read_eigenvalues
    from cathodeflow.science.electronic.band_edges import band_edges

    bands = read_eigenvalues(folder)
    return band_edges(bands.energies, bands.occupations, bands.k_points, bands.weights)


def edges_part(folder: Path, functional: str) -> EdgesPart:
    """Return the band edges of a run as records keep them; errors as `read_edges`."""
    from cathodeflow.calculators.vasp.electronic_outputs import read_fermi_energy

    edges = read_edges(folder)
    return EdgesPart(
        functional=functional,
        gap=edges.gap,
        is_metal=edges.is_metal,
        is_direct=edges.is_direct,
        vbm=None if edges.is_metal else _edge(edges.vbm),
        cbm=None if edges.is_metal else _edge(edges.cbm),
        channel_gaps=[None if one is None or one <= _NO_GAP else one for one in edges.channel_gaps],
        fermi_energy=read_fermi_energy(folder),
    )


def _edge(edge: BandEdge) -> dict[str, Any]:
    points = [list(point) for point in edge.k_points]
    return {"energy": edge.energy, "spin": edge.spin, "band": edge.band, "k_points": points}


def _hybrid(
    edges: BandEdges,
    static: Mapping[str, Any],
    crystal: Mapping[str, Any],
    engine: Mapping[str, Any],
    followups: Mapping[str, Any],
) -> Found:
    from cathodeflow.calculators.vasp.programs import programs_of
    from cathodeflow.calculators.vasp.run_files import remove
    from cathodeflow.calculators.vasp.static import run_static
    from cathodeflow.jobs.followups.static import functional_of
    from cathodeflow.records.crystal import Crystal
    from cathodeflow.records.followup import GapResult
    from cathodeflow.science.electronic.band_edges import hybrid_k_points

    below = EdgesPart.model_validate(static["static"]["edges"])
    if edges.is_metal:
        said = f"{below.functional} finds a metal, which has no band edges: no hybrid run was made"
        return Found(GapResult(pbe=below, hybrid=None), message=said)
    structure = Crystal.model_validate(crystal).to_structure()
    preset = preset_for("hybrid", followups)
    programs = programs_of(engine)
    with programs.available():
        run = run_static(
            structure,
            preset,
            Path.cwd() / HYBRID_FOLDER,
            programs,
            band_edges=hybrid_k_points([edges]).tolist(),
            density_from=static_folder(static),
        )
    remove(run.folder, "WAVECAR")  # nothing starts from it once the run is done
    above = edges_part(run.folder, functional_of(structure, preset))
    moments = static["static"].get("total_magnetization"), run.total_moment
    return Found(
        GapResult(pbe=below, hybrid=above),
        message=_on_moments((below.functional, above.functional), moments),
        presets=(preset.name,),
        overrides=overrides_of(preset, "hybrid"),
        interventions=run.interventions,
        earlier_s=run.earlier_s,
    )


def _on_moments(functionals: tuple[str, str], moments: tuple[float | None, float | None]) -> str:
    """Say where the two runs ended in different magnetic states, whose gaps do not compare; else nothing."""
    static, hybrid = moments
    if static is None or hybrid is None or abs(abs(hybrid) - abs(static)) <= _SAME_STATE:  # up and down are alike
        return ""
    told = " and ".join(f"{moment:.1f} µB with {name}" for name, moment in zip(functionals, moments, strict=True))
    return f"the moments of the cell are {told}: two magnetic states, whose gaps do not compare"
