"""The job that reads the projected density of states from the static run (S0 section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow.core.job import job

from cathodeflow.jobs.followups.branch import Found, branch_output, static_folder
from cathodeflow.records.outcomes import Branch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cathodeflow.records.followup import PdosResult
    from cathodeflow.science.electronic.pdos import PartialDos

WINDOW = (-10.0, 8.0)
"""What is kept, eV against the Fermi energy."""
MAX_POINTS = 1200
DECIMALS = 4  # of states/eV; VASP's files have four digits
LEAST_STATES = 1e-3  # in the window; a shell with fewer is not listed


@job
def pdos(
    static: dict[str, Any], crystal: dict[str, Any], engine: dict[str, Any], followups: dict[str, Any]
) -> dict[str, Any]:
    """Sum the projections of the static run over elements and shells.

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
    """

    def read() -> PartialDos:
        from cathodeflow.calculators.vasp.electronic_outputs import read_partial_dos
        from cathodeflow.calculators.vasp.input_sets import written_species
        from cathodeflow.records.crystal import Crystal

        structure = Crystal.model_validate(crystal).to_structure()
        return read_partial_dos(static_folder(static), written_species(structure))

    return branch_output(Branch.PDOS, engine, followups, read, lambda dos: Found(pdos_result(dos)), static=static)


def pdos_result(dos: PartialDos) -> PdosResult:
    """Return curves and band centres within `WINDOW`.

    Centres are taken from all points of the file; curves with more than `MAX_POINTS` points are averaged over groups of
    neighbours, which keeps their integral.

    Parameters
    ----------
    dos : PartialDos
        Of one cell.

    Returns
    -------
    PdosResult

    Raises
    ------
    CalculationError
        The window holds no states.
    """
    from cathodeflow.records.followup import BandCentrePart, PdosCurve, PdosResult
    from cathodeflow.science.electronic.pdos import band_centre, sum_by_element_and_shell

    relative = dos.energies - dos.fermi_energy
    inside = (relative >= WINDOW[0]) & (relative <= WINDOW[1])
    width = -(-int(inside.sum()) // MAX_POINTS)
    spacing = float(relative[1] - relative[0])
    curves, centres = [], []
    for (element, shell), density in sum_by_element_and_shell(dos).items():
        kept = density[:, inside]
        if float(kept.sum()) * spacing < LEAST_STATES:
            continue
        up, *down = (_grouped(channel, width) for channel in kept)
        curves.append(PdosCurve(element=element, shell=shell, up=up, down=down[0] if down else []))
        if _has_centre(element, shell):
            centre = band_centre(dos.energies, density, dos.fermi_energy, WINDOW)
            centres.append(
                BandCentrePart(
                    element=element, shell=shell, centre=centre.centre, width=centre.width, states=centre.states
                )
            )
    energies = _grouped(relative[inside], width)
    return PdosResult(energies=energies, curves=curves, centres=centres, fermi_energy=dos.fermi_energy)


def _has_centre(element: str, shell: str) -> bool:
    from pymatgen.core import Element

    return (shell == "d" and Element(element).block == "d") or (shell == "p" and element in ("O", "F"))


def _grouped(values: NDArray[np.float64], width: int) -> list[float]:
    """Average groups of `width` neighbours; a remainder at the end is left out."""
    if width <= 1:
        return [round(value, DECIMALS) for value in values.tolist()]
    whole = len(values) // width * width
    means = values[:whole].reshape(-1, width).mean(axis=1)
    return [round(value, DECIMALS) for value in means.tolist()]
