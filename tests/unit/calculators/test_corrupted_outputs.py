"""Files of real stand-in runs, cut or damaged anywhere: the same numbers or a CalculationError, and nothing else.

They are read by the very functions that the engine and the follow-ups use: emmet's task document as the makers have it
parsed, `relaxed_structure`, `read_density` and `read_lobster`.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from cathodeflow.calculators.bader.chgcar import read_density
from cathodeflow.calculators.lobster.outputs import read_lobster
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL
from cathodeflow.errors import CalculationError

CASES = settings(
    max_examples=200,
    deadline=timedelta(minutes=2),  # no damage makes a reader go on for ever
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REASONS = {"broken_output", "not_converged", "non_finite", "calculation_error", "walltime"}
PARTS = st.floats(0, 1, exclude_max=True)
READ = ("INCAR", "POSCAR", "KPOINTS", "POTCAR.spec", "CONTCAR", "OSZICAR", "OUTCAR", "vasprun.xml", "custodian.json")
VANADIUM_OXIDE = """vanadium oxide, a little off its sites
1.0
2.9 0.0 0.0
0.1 2.95 0.0
0.0 0.1 4.2
V O
1 1
Direct
0.00 0.00 0.02
0.50 0.50 0.47
"""
TAGS = {
    "ENCUT": "400",
    "EDIFF": "1E-6",
    "EDIFFG": "-0.01",
    "IBRION": "2",
    "ISIF": "3",
    "NSW": "99",
    "ISMEAR": "0",
    "SIGMA": "0.05",
    "ISPIN": "2",
    "MAGMOM": "3.0 0.6",
    "NBANDS": "16",
    "ISYM": "0",
    "NEDOS": "21",
    "NGXF": "8",
    "NGYF": "8",
    "NGZF": "10",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run vasp_std and lobster once; a small cell, so that its files are small."""
    from cathodeflow.calculators.rehearsal import lobster, vasp_std

    folder = tmp_path_factory.mktemp("finished")
    (folder / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in TAGS.items()))
    (folder / "POSCAR").write_text(VANADIUM_OXIDE)
    (folder / "KPOINTS").write_text("mesh\n0\nGamma\n2 1 1\n0 0 0\n")
    (folder / "POTCAR.spec").write_text("V_pv\nO")
    (folder / "lobsterin").write_text(
        "COHPStartEnergy -35\nCOHPEndEnergy 5\nCOHPSteps 5\nbasisfunctions V 3d 3p 4s\nbasisfunctions O 2p 2s\n"
        "cohpGenerator from 0.5 to 3.0 type V type O\nskipcoop\nskipcobi\n"
    )
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        patched.chdir(folder)
        patched.setenv(POTENTIAL, "pair")
        assert vasp_std.main() == 0
        assert lobster.main() == 0
    (folder / "custodian.json").write_text(json.dumps([{"job": None, "corrections": []}]))
    return folder


@pytest.fixture(scope="module")
def read(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bytes], Any]]:
    """Read the relaxation with one file replaced, as the engine does: validators, emmet, our own refusals."""
    from custodian.custodian import ValidationError

    from cathodeflow.calculators.vasp import makers
    from cathodeflow.calculators.vasp.makers import PresetRelaxMaker, relax_maker
    from cathodeflow.calculators.vasp.preset import load_preset
    from cathodeflow.calculators.vasp.results import relaxed_structure

    maker = relax_maker(load_preset("s0_relax"), potcar_spec=True)
    start = Structure.from_str(VANADIUM_OXIDE, fmt="poscar")
    folder = tmp_path_factory.mktemp("damaged")
    make: Callable[..., Any] = getattr(PresetRelaxMaker.make, "original")  # noqa: B009 - jobflow adds it

    def validate(**given: Any) -> None:
        for validator in given["validators"]:
            if validator.check("."):
                raise ValidationError(type(validator).__name__, raises=True, validator=validator)

    def numbers(name: str, raw: bytes) -> Any:
        for kept in READ:
            (folder / kept).unlink(missing_ok=True)
            (folder / kept).symlink_to(finished / kept)
        (folder / name).unlink()
        (folder / name).write_bytes(raw)
        found = relaxed_structure(make(maker, start, None).output, start)
        return {
            "energies": (found.energy_before, found.energy_after),
            "forces": found.forces.tolist(),
            "lattice": found.structure.lattice.matrix.tolist(),
            "positions": found.structure.frac_coords.tolist(),
            "elements": [site.specie.symbol for site in found.structure],
            "steps": found.steps,
        }

    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched.chdir(folder)
        # The run is over; what is left of the job is what is tested.
        patched.setattr(makers, "write_vasp_input_set", lambda *_, **__: None)
        patched.setattr(makers, "zip_outputs", lambda *_: None)
        patched.setattr(makers, "run_vasp", validate)
        yield numbers


@pytest.fixture(scope="module")
def whole(finished: Path, read: Callable[[str, bytes], Any]) -> Any:
    return read("OUTCAR", (finished / "OUTCAR").read_bytes())


def same_or_refused(reading: Callable[[], Any], expected: Any) -> None:
    try:
        found = reading()
    except CalculationError as error:
        reason = error.reason
    else:
        assert found == expected
        return
    assert reason in REASONS


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])
@CASES
@given(part=PARTS)
def test_a_relaxation_with_a_cut_file_gives_the_same_numbers_or_is_refused(finished, read, whole, name, part):
    raw = (finished / name).read_bytes()
    same_or_refused(lambda: read(name, raw[: int(part * len(raw))]), whole)


@pytest.mark.parametrize("name", ["CONTCAR", "OSZICAR"])
@settings(CASES, max_examples=50)
@given(part=PARTS)
def test_a_relaxation_with_a_cut_side_file_gives_the_same_numbers_or_is_refused(finished, read, whole, name, part):
    raw = (finished / name).read_bytes()
    same_or_refused(lambda: read(name, raw[: int(part * len(raw))]), whole)


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])
@settings(CASES, max_examples=100)
@given(part=PARTS, byte=st.integers(0, 255).filter(lambda code: chr(code) not in "0123456789+-.eE "))
def test_a_relaxation_with_a_byte_that_is_of_no_number_gives_the_same_numbers_or_is_refused(
    finished, read, whole, name, part, byte
):
    raw = bytearray((finished / name).read_bytes())
    raw[int(part * len(raw))] = byte
    same_or_refused(lambda: read(name, bytes(raw)), whole)


def test_a_vasprun_cut_between_two_ionic_steps_is_not_taken_for_a_shorter_relaxation(finished, read, whole):
    raw = (finished / "vasprun.xml").read_bytes()
    ends = [place + len(b"</calculation>") for place in range(len(raw)) if raw.startswith(b"</calculation>", place)]
    assert len(ends) == whole["steps"] + 1 > 3
    for end in ends:
        for tail in (b"", b"\n", b"\n <calculation>\n"):
            with pytest.raises(CalculationError) as caught:
                read("vasprun.xml", raw[:end] + tail)
            assert caught.value.reason in REASONS


@CASES
@given(part=PARTS)
def test_a_cut_density_is_refused_or_whole(finished, tmp_path_factory, part):
    path = finished / "CHGCAR"
    expected, raw = read_density(path), path.read_bytes()
    cut = path.with_name("CHGCAR_cut")
    cut.write_bytes(raw[: int(part * len(raw))])
    try:
        found = read_density(cut)
    except CalculationError:
        return
    np.testing.assert_array_equal(found.density.values, expected.density.values)
    np.testing.assert_array_equal(found.positions, expected.positions)
    if found.magnetisation is not None and expected.magnetisation is not None:
        np.testing.assert_array_equal(found.magnetisation.values, expected.magnetisation.values)


@pytest.mark.parametrize("name", ["ICOHPLIST.lobster", "COHPCAR.lobster", "lobsterout"])
@CASES
@given(part=PARTS)
def test_bonds_of_cut_lobster_files_are_the_same_or_refused(finished, tmp_path_factory, name, part):
    folder = tmp_path_factory.getbasetemp() / "cut_lobster"
    folder.mkdir(exist_ok=True)
    for kept in ("ICOHPLIST.lobster", "COHPCAR.lobster", "lobsterout"):
        shutil.copy(finished / kept, folder / kept)
    raw = (finished / name).read_bytes()
    (folder / name).write_bytes(raw[: int(part * len(raw))])
    expected = read_lobster(finished, ("V", "O"))
    same_or_refused(lambda: read_lobster(folder, ("V", "O")), expected)
