"""References are the lowest of the phases tried, by the engine's own energies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.calculators.engines import engine
from cathodeflow.calculators.potentials.elements import elemental_phases
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


def failing(reason, *lattices):
    """The pair potential's engine, for which given lattices of copper fail."""
    pair = engine({"name": "pair"})
    cells = {phase.phase: phase.structure for phase in elemental_phases("Cu")}

    def relax(structure, wanted):
        if any(structure == cells[lattice] for lattice in lattices):
            raise CalculationError("NSW was used up", reason)
        return pair.relaxer(structure, wanted)

    return replace(pair, relaxer=relax)


@pytest.mark.parametrize("reason", ["not_converged", "calculation_error", "non_finite"])
def test_a_lattice_that_nature_does_not_choose_is_left_out_when_it_fails_and_named(reason):
    found = reference_energy("Cu", failing(reason, "hcp"))
    words = "did not converge" if reason == "not_converged" else "failed"
    assert found.phase.endswith(f"; {words}: hcp")
    assert "hcp" not in found.phase.partition(";")[0]
    assert [(lost.phase, lost.reason, lost.hypothetical) for lost in found.lost_phases] == [("hcp", reason, True)]
    assert "NSW was used up" in found.lost_phases[0].message


def test_the_phase_of_nature_is_not_left_out_when_it_fails():
    with pytest.raises(CalculationError, match="NSW was used up") as failed:
        reference_energy("Cu", failing("calculation_error", "fcc"))
    assert failed.value.reason == "calculation_error"


def test_lattices_that_all_fail_give_no_reference_and_the_calculations_own_error():
    with pytest.raises(CalculationError, match="NSW was used up") as failed:
        reference_energy("Cu", failing("calculation_error", "fcc", "hcp", "bcc"))
    assert failed.value.reason == "calculation_error"


@pytest.mark.parametrize("reason", ["walltime", "killed", "missing_program", "disk_full", "broken_output"])
def test_what_another_attempt_may_mend_leaves_no_lattice_out(reason):
    with pytest.raises(CalculationError) as failed:
        reference_energy("Cu", failing(reason, "hcp"))
    assert failed.value.reason == reason


@given(st.sets(st.sampled_from(["hcp", "bcc", "fcc"])), st.sampled_from(["calculation_error", "not_converged"]))
@settings(max_examples=12)
def test_the_reference_is_the_lowest_of_the_lattices_that_converged(lost, reason):
    if lost == {"hcp", "bcc", "fcc"} or (reason == "calculation_error" and "fcc" in lost):
        with pytest.raises(CalculationError) as failed:
            reference_energy("Cu", failing(reason, *lost))
        assert failed.value.reason == reason
        return
    found = reference_energy("Cu", failing(reason, *lost))
    pair = engine({"name": "pair", "max_force": MAX_FORCE})
    energies = {p.phase: p.structure for p in elemental_phases("Cu") if p.phase not in lost}
    lowest = min(pair.relax(cell).energy_after / len(cell) for cell in energies.values())
    assert found.energy_per_atom == pytest.approx(lowest, abs=1e-9)
    assert {phase.phase for phase in found.lost_phases} == lost
