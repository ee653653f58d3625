"""References are the lowest of the phases tried, by the engine's own energies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cathodeflow.calculators.engines import engine
from cathodeflow.calculators.potentials.references import MAX_FORCE, reference_energy
from cathodeflow.errors import CalculationError


def test_chgnets_sodium_is_that_of_the_measured_cells():
    found = reference_energy("Na", engine({"name": "mlff"}))
    assert found.energy_per_atom == pytest.approx(-1.289, abs=0.01)
    assert "bcc" in found.phase
    assert found.relaxed.largest_force <= MAX_FORCE


def test_the_lowest_phase_is_kept():
    found = reference_energy("V", engine({"name": "mlff"}))
    tried = [float(part.split()[-1]) for part in found.phase.split("tried, eV/atom: ")[1].split(", ")]
    assert found.energy_per_atom == pytest.approx(min(tried), abs=1e-3)
    assert found.phase.startswith("bcc")


def test_a_reference_that_does_not_converge_is_an_error():
    with pytest.raises(CalculationError, match="no phase of Cu converged"):
        reference_energy("Cu", engine({"name": "pair", "max_steps": 2, "max_force": 1e-9}))


def test_a_phase_that_does_not_converge_is_left_out_and_named():
    pair = engine({"name": "pair"})

    def relax(structure, wanted):
        if len(structure) == 2:  # of fcc, hcp and bcc only hcp has two atoms
            raise CalculationError("NSW was used up", "not_converged")
        return pair.relaxer(structure, wanted)

    found = reference_energy("Cu", replace(pair, relaxer=relax))
    assert found.phase.endswith("; did not converge: hcp")
    assert "hcp" not in found.phase.partition(";")[0]
