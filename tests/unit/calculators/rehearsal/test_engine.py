"""Engine ``rehearsal``: the path of engine ``vasp`` through atomate2 and custodian, whole, with the pair potential."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Incar, Poscar
from tests.unit.calculators.rehearsal.conftest import FrozenOnceStruck

from cathodeflow.calculators.attempt import Attempt, write_attempt
from cathodeflow.calculators.engines import engine
from cathodeflow.calculators.potentials.pair import PairCalculator
from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
from cathodeflow.calculators.rehearsal.engine import read_rehearsal
from cathodeflow.calculators.rehearsal.faults import KINDS
from cathodeflow.calculators.vasp import handlers, makers
from cathodeflow.calculators.vasp.run_clock import FILE_NAME as CLOCK
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.jobs.label import label
from cathodeflow.jobs.reference import reference
from cathodeflow.records.label import LabelRecord, ReferenceRecord

pytestmark = pytest.mark.filterwarnings("ignore")

# Sites interleaved, so that POSCAR has them in another order.
START = Structure(
    Lattice([[4.3, 0, 0], [0, 4.4, 0], [0, 0.1, 4.5]]),
    ["O", "Fe", "O", "Fe", "O", "Fe", "O", "Fe"],
    [
        [0.50, 0.50, 0.50],
        [0.00, 0.00, 0.02],
        [0.50, 0.00, 0.00],
        [0.00, 0.50, 0.50],
        [0.01, 0.50, 0.00],
        [0.50, 0.00, 0.50],
        [0.00, 0.00, 0.50],
        [0.50, 0.51, 0.00],
    ],
)
QUICK = {"incar.EDIFFG": -0.05}


def energy_of(structure: Structure) -> float:
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(Structure.from_sites(structure.sites), msonable=False)
    atoms.calc = PairCalculator()
    return float(atoms.get_potential_energy())


def own_variables() -> dict[str, str]:
    """All of the environment but what importing torch leaves there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}


Relax = Callable[..., RelaxedStructure]


@pytest.fixture
def relax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relax:
    """Relax START in a folder of its own, as an attempt of a label."""
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START", raising=False)

    def run(*faults: dict[str, Any], attempt: int = 1, after: Path | None = None, **parameters: Any) -> Any:
        folder = tmp_path / f"attempt-{attempt}"
        folder.mkdir()
        left = parameters.pop("seconds_left", None)
        write_attempt(folder, Attempt("c", "label", "key", attempt, after, left))
        monkeypatch.chdir(folder)
        definition = {
            "name": "rehearsal",
            "model": "pair",
            "parameters": {"overrides": QUICK, "faults": {"seed": 1, "faults": list(faults)}, **parameters},
        }
        before = own_variables()
        try:
            return engine(definition).relax(START)
        finally:
            assert own_variables() == before  # PATH above all, also where the run fails

    return run


def require_right_energies(found: RelaxedStructure) -> None:
    assert found.correction is not None
    assert found.correction.uncorrected_before == pytest.approx(energy_of(START), abs=2e-6)
    assert found.correction.uncorrected_after == pytest.approx(energy_of(found.structure), abs=1e-4)
    added = sum(term.energy for term in found.correction.terms)
    assert found.energy_before == pytest.approx(found.correction.uncorrected_before + added)
    assert found.energy_after == pytest.approx(found.correction.uncorrected_after + added)
    assert found.converged
    assert found.largest_force <= 0.05
    assert [site.specie for site in found.structure] == [site.specie for site in START]
    moved = found.structure.frac_coords - START.frac_coords
    assert np.abs(moved - np.round(moved)).max() < 0.1


def test_a_label_has_corrected_energies_and_leaves_nothing_of_the_rehearsal_behind(
    relax: Relax, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    before = own_variables()
    found = relax()
    assert own_variables() == before
    require_right_energies(found)
    assert found.correction is not None
    assert [term.name for term in found.correction.terms]
    assert found.interventions == ()
    assert found.cores == 8
    assert found.steps > 1
    assert found.wall_s > 0
    folder = Path(found.folder)
    assert folder == Path.cwd()
    assert (folder / "vasprun.xml.gz").is_file()
    assert not list(folder.glob("WAVECAR*"))
    assert not list(folder.glob("CHGCAR*"))
    assert not (folder / "rehearsal_bin").exists()


ENDS = {
    "zbrent": None,
    "edddav": None,
    "brmix": None,
    "unconverged_electronic": None,
    "unconverged_ionic": None,
    "frozen": None,
    "killed": "killed",
    "out_of_memory": "out_of_memory",
    "walltime": "timeout",
    "truncated_xml": "broken_output",
    "disk_full": "disk_full",
    "exit_code": "exit_code",
}


def test_the_end_of_every_fault_is_known() -> None:
    assert set(ENDS) == set(KINDS)


SLOW = {"frozen", "unconverged_ionic", "unconverged_electronic"}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in KINDS])
def test_each_fault_is_repaired_or_ends_with_its_true_reason(
    relax: Relax, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "FrozenJobErrorHandler", FrozenOnceStruck)
    fault = {"kind": kind, "step": 2, "code": 3, "fraction": 0.7}
    if ENDS[kind] is not None:
        with pytest.raises(CalculationError) as ended:
            relax({**fault, "times": 9})
        assert ended.value.reason == ENDS[kind]
        return
    overrides = {**QUICK, "incar.NSW": 25} if kind == "unconverged_ionic" else QUICK
    found = relax(fault, frozen_s=2, overrides=overrides)
    require_right_energies(found)
    assert found.interventions
    assert any(done.changes for done in found.interventions)


@pytest.mark.parametrize(
    ("kind", "step"),
    [("zbrent", 1), pytest.param("zbrent", 3, marks=pytest.mark.slow), pytest.param("edddav", 1)],
)
def test_the_unrelaxed_energy_survives_a_restart_at_any_step(relax: Relax, kind: str, step: int) -> None:
    require_right_energies(relax({"kind": kind, "step": step}))


@pytest.mark.slow
def test_it_survives_two_restarts_and_a_second_relaxation(relax: Relax) -> None:
    found = relax({"kind": "zbrent", "step": 2}, {"kind": "zbrent", "step": 3, "times": 2}, double_relax=True)
    require_right_energies(found)
    assert (Path(found.folder) / "second" / "vasprun.xml.gz").is_file()
    assert len(found.interventions) >= 2


@pytest.mark.slow
def test_a_relaxation_stopped_twice_goes_on_twice_with_the_first_energy(relax: Relax) -> None:
    relax(attempt=9)  # what is imported now takes no time from the first attempt's
    began = time.monotonic()
    relax(attempt=8)
    seconds = max(3.0, time.monotonic() - began)  # for a machine on which a start takes longer
    places = []
    for attempt in (1, 2):
        with pytest.raises(CalculationError) as stopped:
            relax(
                *([{"kind": "zbrent", "step": 1}] if attempt == 1 else []),
                attempt=attempt,
                after=places[-1] if places else None,
                step_s=seconds / 60,
                seconds_left=seconds,
            )
        assert stopped.value.reason == "walltime"
        places.append(Path.cwd())
    found = relax(attempt=3, after=places[-1])
    require_right_energies(found)
    met = [done.handler for done in found.interventions]
    assert met.count("WalltimeHandler") >= 2
    assert "VaspErrorHandler" in met
    assert found.wall_s > seconds  # each stopped attempt ran until a second before its time was over
    assert not any(list(place.glob("WAVECAR*")) for place in places)


def test_an_attempt_without_a_whole_geometry_starts_anew(relax: Relax) -> None:
    with pytest.raises(CalculationError):
        relax({"kind": "killed", "step": 1})
    before = Path.cwd()
    found = relax(attempt=2, after=before)
    require_right_energies(found)
    assert found.interventions == ()


def test_without_the_first_energy_the_relaxation_starts_anew(relax: Relax) -> None:
    with pytest.raises(CalculationError):
        relax({"kind": "killed", "step": 3})
    before = Path.cwd()
    assert (before / "CONTCAR").is_file()
    (before / "vasprun.xml").write_text("<modeling>")
    found = relax(attempt=2, after=before)
    require_right_energies(found)
    assert Poscar.from_file(Path(found.folder) / "POSCAR.gz").structure.lattice == START.lattice


def test_an_attempt_whose_folder_was_freed_is_begun_anew_and_says_so(
    relax: Relax, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CalculationError):
        relax({"kind": "killed", "step": 3})
    before = Path.cwd()
    for path in before.iterdir():  # as `cflow gc --failed-too` leaves it where retention keeps neither
        if path.name.startswith(("CONTCAR", "WAVECAR")):
            path.unlink()
    require_right_energies(found := relax(attempt=2, after=before))
    assert Poscar.from_file(Path(found.folder) / "POSCAR.gz").structure.lattice == START.lattice
    assert f"Nothing in {before} can be gone on from" in caplog.text
    caplog.clear()
    shutil.rmtree(before)
    relax(attempt=3, after=before)
    assert f"Nothing in {before} can be gone on from" in caplog.text
    caplog.clear()
    relax(attempt=4)
    assert "gone on from" not in caplog.text


def test_a_killed_attempt_is_gone_on_from_without_its_results(relax: Relax, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CalculationError):
        relax({"kind": "killed", "step": 3}, step_s=0.02)
    before = Path.cwd()
    seen: list[set[str]] = []
    calculate = makers.run_vasp
    monkeypatch.setattr(
        makers, "run_vasp", lambda **how: (seen.append({path.name for path in Path.cwd().iterdir()}), calculate(**how))
    )
    found = relax(attempt=2, after=before)
    require_right_energies(found)
    # An old vasprun.xml could pass for the result of a program that dies at its start.
    assert not seen[0] & {"vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR", "vasprun.xml.gz", "OUTCAR.gz"}
    alone = json.loads((Path.cwd() / CLOCK).read_text())["wall_s"]
    assert found.wall_s > alone + 0.1  # the killed attempt counts until it last wrote


def test_finished_phases_of_an_earlier_attempt_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = {"name": "rehearsal", "model": "pair", "parameters": {"overrides": {"incar.EDIFFG": -0.1}}}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(first)
    whole = reference.original("Cu", definition)
    (first / "phase-2" / "vasprun.xml.gz").write_bytes(b"damaged")  # finished, but not whole any more
    (first / "phase-3" / CLOCK).write_text('{"began": 1.0}')  # killed in the middle
    write_attempt(second, Attempt("c", "reference", "Cu", 2, first))
    monkeypatch.chdir(second)
    ran: list[str] = []
    calculate = makers.run_vasp
    monkeypatch.setattr(makers, "run_vasp", lambda **how: (ran.append(Path.cwd().name), calculate(**how)))
    again = reference.original("Cu", definition)
    assert ran == ["phase-2", "phase-3"]
    assert again["energy_per_atom"] == pytest.approx(whole["energy_per_atom"], abs=1e-4)
    assert again["phase"] == whole["phase"]


def test_faults_of_lobster_and_bader_are_known_too() -> None:
    faults = [
        {"kind": "charge_spilling", "program": "lobster", "probability": 0.2},
        {"kind": "killed", "program": "bader"},
    ]
    assert read_rehearsal("pair", {"faults": {"seed": 1, "faults": faults}}).faults["faults"] == faults
    with pytest.raises(DefinitionError, match="no fault 'zbrent' of lobster"):
        read_rehearsal("pair", {"faults": {"faults": [{"kind": "zbrent", "program": "lobster"}]}})
    with pytest.raises(DefinitionError, match="no program 'cp2k'"):
        read_rehearsal("pair", {"faults": {"faults": [{"kind": "killed", "program": "cp2k"}]}})


def test_what_cannot_be_rehearsed_is_refused() -> None:
    def refuse(said: str, **parameters: Any) -> None:
        with pytest.raises(DefinitionError, match=said):
            engine({"name": "rehearsal", "model": "pair", "parameters": parameters})

    refuse("no fault 'gremlin'", faults={"faults": [{"kind": "gremlin"}]})
    refuse("has no 'chance'", faults={"faults": [{"kind": "zbrent", "chance": 1}]})
    refuse("must be a number", faults={"faults": [{"kind": "zbrent", "step": "two"}]})
    refuse("must look like", faults=["zbrent"])
    refuse("step_s", step_s=-1)
    with pytest.raises(DefinitionError, match="no model 'mace'"):
        engine({"name": "rehearsal", "model": "mace"})


def test_all_phases_of_an_element_are_relaxed_in_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = {"overrides": {"incar.ENCUT": 600}}
    output = reference.original("Cu", {"name": "rehearsal", "model": "pair", "parameters": overrides})
    record = ReferenceRecord.model_validate({"_id": "x", **output})
    assert record.origin.provenance.startswith("rehearsal:pair:s0_relax+")
    assert [override.key for override in record.overrides] == ["incar.ENCUT"]
    assert record.energy_per_atom < 0
    folders = sorted(tmp_path.glob("phase-*"))
    assert len(folders) == 3
    for folder in folders:
        incar = Incar.from_file(folder / "INCAR.gz")
        assert (incar["ENCUT"], incar["ISMEAR"], incar["KSPACING"]) == (600, 1, 0.15)
    relaxed = [Structure.from_file(folder / "CONTCAR.gz") for folder in folders]
    lowest = min(energy_of(structure) / len(structure) for structure in relaxed)
    assert record.energy_per_atom == pytest.approx(lowest, abs=1e-3)


def test_a_label_by_the_path_of_vasp_fills_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = {"overrides": {"incar.EDIFFG": -0.3}, "faults": {"faults": [{"kind": "zbrent", "step": 2}]}}
    output = label.original(
        key="lifepo4-Li1-Fe2Mo2-3",
        host={"packaged": "lifepo4"},
        level="Li1",
        elements=["Fe", "Mo"],
        mask=3,
        engine={"name": "rehearsal", "model": "pair", "parameters": parameters},
        references=dict.fromkeys(("Li", "Fe", "Mo", "P", "O"), -0.2),
    )
    record = LabelRecord.model_validate({"_id": "c/k", "campaign": "c", "purpose": "training", "round": 0, **output})
    relaxation = record.relaxation
    assert relaxation is not None
    assert relaxation.correction is not None
    assert relaxation.correction.scheme == "materials-project-2020"
    added = sum(term.energy for term in relaxation.correction.terms)
    assert added < -5  # oxide anions alone are -0.687 eV each
    assert relaxation.energy_after == pytest.approx(relaxation.correction.uncorrected_after + added)
    raw = relaxation.correction.uncorrected_before - relaxation.correction.uncorrected_after
    assert relaxation.relaxation_energy == pytest.approx(raw / 28)
    assert [done.errors for done in record.interventions] == [["zbrent"]]
    assert [override.key for override in record.overrides] == ["incar.EDIFFG"]
    assert record.folder == str(tmp_path.resolve())


def test_engine_vasp_runs_nothing_without_vasp_and_its_potcars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "srun_of_nowhere vasp_std")
    with pytest.raises(CalculationError, match=r"no srun_of_nowhere .*library: none is set") as ended:
        engine({"name": "vasp"}).relax(START)
    assert ended.value.reason == "missing_program"
    assert not list(tmp_path.iterdir())
