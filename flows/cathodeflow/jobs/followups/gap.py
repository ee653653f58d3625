"""The job that computes the band gap by HSE06 at the k-points of the band edges (S0 section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow.core.job import job

from cathodeflow.errors import CalculationError
from cathodeflow.jobs.followups.branch import (
    Found,
    branch_output,
    overrides_of,
    preset_for,
    static_folder,
)
from cathodeflow.records.followup import HYBRID_OVERLAP, EdgesPart
from cathodeflow.records.outcomes import Branch, Reason

if TYPE_CHECKING:
    from cathodeflow.calculators.vasp.preset import VaspPreset
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

    The hybrid run starts from the static run's density. A cell that the static run finds to be a metal gets one where
    its bands overlap by less than ``hybrid_overlap`` and each channel fills about a whole number of them: there the
    hybrid may open a gap. Otherwise its gap is that of the static run, zero, and so it is where the run on a metal does
    not converge.

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
    from cathodeflow.science.electronic.band_edges import hybrid_k_points, may_open

    below = EdgesPart.model_validate(static["static"]["edges"])
    limit = float(followups.get("hybrid_overlap", HYBRID_OVERLAP))  # workflows written before it lack it
    if not may_open(edges, limit):
        return _metal(edges, below, limit)
    structure = Crystal.model_validate(crystal).to_structure()
    preset = preset_for("hybrid", followups)
    programs = programs_of(engine)
    try:
        with programs.available():
            run = run_static(
                structure,
                preset,
                Path.cwd() / HYBRID_FOLDER,
                programs,
                band_edges=hybrid_k_points([edges]).tolist(),
                density_from=static_folder(static),
            )
    except CalculationError as error:
        if not edges.is_metal or error.reason != Reason.NOT_CONVERGED:
            raise
        return _unconverged(edges, below, preset, error)
    remove(run.folder, "WAVECAR")  # nothing starts from it once the run is done
    above = edges_part(run.folder, functional_of(structure, preset))
    moments = static["static"].get("total_magnetization"), run.total_moment
    said = _on_opening(edges, below, above), _on_moments((below.functional, above.functional), moments)
    return Found(
        GapResult(pbe=below, hybrid=above),
        message="; ".join(filter(None, said)),
        presets=(preset.name,),
        overrides=overrides_of(preset, "hybrid"),
        interventions=run.interventions,
        earlier_s=run.earlier_s,
    )


def _metal(edges: BandEdges, below: EdgesPart, limit: float) -> Found:
    """Return the gap of a metal with any functional."""
    from cathodeflow.records.followup import GapResult
    from cathodeflow.science.electronic.band_edges import WHOLE

    if edges.from_whole > WHOLE:
        why = f"whose number of filled bands is {edges.from_whole:.2f} from whole"
    else:
        why = f"whose bands overlap by {edges.overlap:.2f} eV, not by less than {limit:g} eV"
    said = f"{below.functional} finds a metal {why}: no hybrid run was made"
    return Found(GapResult(pbe=below, hybrid=None, no_hybrid="not run: a metal"), message=said)


def _unconverged(edges: BandEdges, below: EdgesPart, preset: VaspPreset, error: CalculationError) -> Found:
    """Return what the static run says of a metal whose hybrid run did not converge.

    The exchange of a metal at few k-points may have no ground state to converge to, which is no fault of the candidate.
    """
    from cathodeflow.calculators.vasp.results import interventions_in
    from cathodeflow.calculators.vasp.run_files import remove
    from cathodeflow.calculators.vasp.static import attempts_before
    from cathodeflow.records.followup import GapResult

    folder = Path.cwd() / HYBRID_FOLDER
    before, earlier_s = attempts_before(folder)
    for name in ("WAVECAR", "CHGCAR"):  # gigabytes, and a copy of the static run's
        remove(folder, name)
    return Found(
        GapResult(pbe=below, hybrid=None, no_hybrid="not converged"),
        message=f"{_overlapping(edges, below)}, and the hybrid run that may open a gap did not converge: {error}",
        presets=(preset.name,),
        overrides=overrides_of(preset, "hybrid"),
        interventions=(*before, *interventions_in(folder)),
        earlier_s=earlier_s,
    )


def _on_opening(edges: BandEdges, below: EdgesPart, above: EdgesPart) -> str:
    """Say what the hybrid makes of a metal; nothing of others."""
    if not edges.is_metal:
        return ""
    verdict = "a metal too" if above.is_metal else f"a gap of {above.gap:.2f} eV at the k-points that it looks at"
    return f"{_overlapping(edges, below)}; {above.functional} finds {verdict}"


def _overlapping(edges: BandEdges, below: EdgesPart) -> str:
    return f"{below.functional} finds a metal whose bands overlap by {edges.overlap:.2f} eV"


def _on_moments(functionals: tuple[str, str], moments: tuple[float | None, float | None]) -> str:
    """Say where the two runs ended in different magnetic states, whose gaps do not compare; else nothing."""
    static, hybrid = moments
    if static is None or hybrid is None or abs(abs(hybrid) - abs(static)) <= _SAME_STATE:  # up and down are alike
        return ""
    told = " and ".join(f"{moment:.1f} µB with {name}" for name, moment in zip(functionals, moments, strict=True))
    return f"the moments of the cell are {told}: two magnetic states, whose gaps do not compare"
