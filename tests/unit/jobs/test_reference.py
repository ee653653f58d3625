"""The energy of an element is that of its lowest phase, and says how it came about."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.io.ase import AseAtomsAdaptor

from cathodeflow.calculators.potentials.elements import elemental_phases
from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.potentials.references import MAX_FORCE
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.jobs.reference import reference
from cathodeflow.records.label import ReferenceRecord

ENGINE = {"name": "pair", "max_force": 0.2}


def record(element: str, engine: dict[str, object] | None = None) -> ReferenceRecord:
    return ReferenceRecord.model_validate({"_id": "x", **reference.original(element, engine or ENGINE)})


@pytest.mark.parametrize("element", ["Cu", "O"])
def test_the_energy_is_that_of_the_crystal_in_the_record(element: str) -> None:
    made = record(element)
    structure = made.crystal.to_structure()
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.calc = PairCalculator()
    assert {site.specie.symbol for site in structure} == {element}
    assert made.n_atoms == len(structure)
    assert made.energy_per_atom == pytest.approx(atoms.get_potential_energy() / len(structure), abs=1e-6)
    assert made.max_force <= MAX_FORCE  # tighter than the labels', whatever the campaign says
    assert made.origin.provenance == "pair"
    assert made.origin.software["cathodeflow"]
    assert made.overrides == []
    assert made.interventions == []


def test_all_phases_are_tried_and_the_lowest_is_kept() -> None:
    made = record("Cu")
    tried = made.phase.split("tried, eV/atom: ")[1].split(", ")
    assert len(tried) == len(elemental_phases("Cu")) > 1
    assert made.energy_per_atom == pytest.approx(min(float(one.split()[-1]) for one in tried), abs=1e-3)
    assert made.phase.startswith(min(tried, key=lambda one: float(one.split()[-1])).rsplit(" ", 1)[0])


def test_a_molecule_keeps_its_box() -> None:
    made = record("O")
    assert made.n_atoms == 2
    assert made.crystal.to_structure().lattice == elemental_phases("O")[0].structure.lattice


def test_what_did_not_converge_is_no_reference() -> None:
    with pytest.raises(CalculationError, match=r"no phase of Cu .* raise engine\.max_steps") as failed:
        reference.original("Cu", {"name": "pair", "max_steps": 2, "max_force": 1e-9})
    assert failed.value.reason == "not_converged"


def test_an_element_without_a_known_phase_is_refused() -> None:
    with pytest.raises(CalculationError) as refused:
        reference.original("At", ENGINE)
    assert refused.value.reason == "missing_reference"


def test_an_engine_that_does_not_exist_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match="no engine 'siesta'"):
        reference.original("Cu", {"name": "siesta"})
    assert not list(tmp_path.iterdir())
