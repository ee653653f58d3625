from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.vasp.inputs import Incar as PymatgenIncar
from pymatgen.io.vasp.inputs import Poscar

from cathodeflow.calculators.rehearsal.incar import parse_incar
from cathodeflow.calculators.rehearsal.inputs import read_inputs, valence_of
from cathodeflow.errors import CalculationError


def test_incar_is_read_as_vasp_reads_it() -> None:
    incar = parse_incar(
        "ENCUT = 5.2D2 # comment\nNSW=9; ISIF = 2 ! another\nMAGMOM = 2*1.5 \\\n  -0.5\n"
        "lwave = .FALSE.\nENCUT = 700\nUNKNOWN = x\nnot an assignment\nSYSTEM = a b"
    )
    assert incar.number("ENCUT") == 520
    assert (incar.integer("NSW"), incar.integer("ISIF")) == (9, 2)
    assert incar.numbers("MAGMOM") == [1.5, 1.5, -0.5]
    assert not incar.switch("LWAVE")
    assert incar.get("SYSTEM") == "a b"
    assert incar.number("EDIFF") == 1e-4
    assert incar.ediffg == 1e-3
    assert incar.ibrion == 0  # NSW without IBRION means dynamics
    assert parse_incar("").ibrion == -1


@given(
    st.floats(100, 900).map(lambda value: round(value, 3)),
    st.integers(1, 300),
    st.booleans(),
    st.lists(st.floats(-5, 5).map(lambda value: round(value, 2)), min_size=1, max_size=6),
)
def test_what_pymatgen_writes_is_read_back(encut: float, steps: int, wave: bool, moments: list[float]) -> None:
    text = str(PymatgenIncar({"ENCUT": encut, "NSW": steps, "LWAVE": wave, "MAGMOM": moments}))
    incar = parse_incar(text)
    assert incar.number("ENCUT") == pytest.approx(encut)
    assert incar.integer("NSW") == steps
    assert incar.switch("LWAVE") is wave
    assert incar.numbers("MAGMOM") == pytest.approx(moments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ENCUT": "high"}, "Error reading item 'ENCUT' from file INCAR"),
        ({"NSW": "many"}, "Error reading item 'NSW'"),
        ({"LWAVE": "maybe"}, "Error reading item 'LWAVE'"),
        ({"MAGMOM": "3*4.0"}, "Error reading item 'MAGMOM'"),
        ({"LDAU": "T", "LDAUU": "5.3", "LDAUL": "2 0", "LDAUJ": "0 0"}, "Error reading item 'LDAUU'"),
        ({"NBANDS": "12"}, "TOO FEW BANDS"),
        ({"IBRION": "0"}, "IBRION = 0 is not rehearsed"),
        ({"ISIF": "6"}, "ISIF = 6 is not rehearsed"),
        ({"LSORBIT": "T"}, "noncollinear"),
    ],
)
def test_settings_that_vasp_would_refuse_are_refused_by_name(
    write_run: Callable[..., Path], changes: dict[str, str], words: str
) -> None:
    with pytest.raises(CalculationError, match=words) as caught:
        read_inputs(write_run(**changes))
    assert caught.value.reason == "refused"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("INCAR", None, "file INCAR is missing"),
        ("POSCAR", None, "file POSCAR is missing"),
        ("POTCAR.spec", None, "POTCAR is missing"),
        ("POTCAR.spec", "Fe_pv", "incompatible with number of species"),
        ("POTCAR.spec", "Fe_pv\nQq", "no element 'Qq'"),
        ("POTCAR", "an empty licence", "no TITEL"),
        ("KPOINTS", "mesh\n0\nGamma\n2 two 2\n", "Error reading KPOINTS"),
        ("KPOINTS", "", "Error reading KPOINTS"),
        ("KPOINTS", "auto\n0\nAuto\n25\n", "KPOINTS"),
        ("KPOINTS", "mesh\n2\nReciprocal\n0 0 0 0\n0 0 .5 0\n", "all weights are zero"),
        ("POSCAR", "cut\n1.0\n4 0 0\n0 4 0\n", "ERROR"),
        ("POSCAR", "few\n1.0\n4 0 0\n0 4 0\n0 0 4\nFe O\n1 1\nDirect\n0 0 0\n", "not as many atoms"),
        ("POSCAR", "left\n1.0\n0 4 0\n4 0 0\n0 0 4\nFe O\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "triple product"),
    ],
)
def test_files_that_vasp_could_not_use_are_refused_by_name(
    write_run: Callable[..., Path], file: str, text: str | None, words: str
) -> None:
    folder = write_run()
    (folder / file).unlink(missing_ok=True)
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(CalculationError, match=words):
        read_inputs(folder)


def test_a_refusal_is_what_the_program_says_and_it_writes_no_result(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    run_here: Callable[[Path], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment()
    folder = write_run(NBANDS="12")
    assert run_here(folder) == 1
    assert "TOO FEW BANDS" in capsys.readouterr().out
    assert not (folder / "vasprun.xml").exists()


def test_a_potcar_is_read_for_titles_and_valences(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    (folder / "POTCAR").write_text(
        "".join(
            f" PAW\n   TITEL  = PAW_PBE {name}\n   ZVAL   = {z} mass\n" for name, z in (("Fe 06Sep2000", 8), ("O", 6))
        )
    )
    inputs = read_inputs(folder)
    assert [p.title for p in inputs.potentials] == ["PAW_PBE Fe 06Sep2000", "PAW_PBE O"]
    assert inputs.electrons == 4 * 8 + 4 * 6


def test_potentials_in_another_order_win_over_poscar_with_a_warning(write_run: Callable[..., Path]) -> None:
    folder = write_run()
    (folder / "POTCAR.spec").write_text("O\nFe_pv\n")
    inputs = read_inputs(folder)
    assert inputs.elements == ["O"] * 4 + ["Fe"] * 4
    assert "POTCAR overwrites" in inputs.warnings[0]


# Valence electrons of the Materials Project's potentials (VASP's own table of PBE potentials).
@pytest.mark.parametrize(
    ("symbol", "electrons"),
    {
        "Na_pv": 7, "Li_sv": 3, "Na": 1, "Mg_pv": 8, "K_sv": 9, "Ca_sv": 10, "Ti_pv": 10, "V_pv": 11, "V_sv": 13,
        "V": 5, "Cr_pv": 12, "Mn_pv": 13, "Fe_pv": 14, "Fe": 8, "Co": 9, "Ni_pv": 16, "Cu_pv": 17, "Cu": 11, "Zn": 12,
        "Al": 3, "Ga_d": 13, "Ge_d": 14, "Si": 4, "P": 5, "S": 6, "O": 6, "F": 7, "Cl": 7, "Nb_pv": 11, "Mo_pv": 12,
        "W_pv": 12, "H": 1, "Sn_d": 14, "Y_sv": 11, "Zr_sv": 12,
    }.items(),
)  # fmt: skip
def test_valences_of_symbols_are_those_of_the_potentials(symbol: str, electrons: int) -> None:
    assert valence_of(symbol) == electrons


@pytest.mark.parametrize(
    "text",
    [
        "c\n2.0\n2 0 0\n0 2.1 0\n0 .1 2.2\nFe O\n1 1\nDirect\n0 0 0.1\n.5 .5 .5\n",
        "c\n-60\n2 0 0\n0 2.1 0\n0 .1 2.2\nFe O\n1 1\nDirect\n0 0 0.1\n.5 .5 .5\n",
        "c\n1.5\n2 0 0\n0 2.1 0\n0 .1 2.2\nFe O\n1 1\nSelective\nCartesian\n0 0 0.1 T T F\n1 1 1 T T T\n",
    ],
)
def test_poscar_is_read_as_pymatgen_reads_it(write_run: Callable[..., Path], text: str) -> None:
    folder = write_run(MAGMOM=None)
    (folder / "POSCAR").write_text(text)
    inputs, wanted = read_inputs(folder), Poscar.from_str(text).structure
    np.testing.assert_allclose(inputs.cell, wanted.lattice.matrix, atol=1e-9)
    np.testing.assert_allclose(inputs.fractional, wanted.frac_coords, atol=1e-9)


@given(st.tuples(*[st.integers(1, 5)] * 3), st.sampled_from(["Gamma", "Monkhorst"]), st.sampled_from(["0", "2"]))
def test_weights_of_a_mesh_sum_to_one_and_never_exceed_it(
    divisions: tuple[int, int, int], style: str, symmetry: str
) -> None:
    from cathodeflow.calculators.rehearsal.kpoints import _mesh

    cell, fractional = np.diag([4.0, 4.1, 4.2]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    mesh = _mesh(divisions, style, (cell, fractional, ["Fe", "O"]), symmetry == "2")
    assert mesh.weights.sum() == pytest.approx(1)
    assert len(mesh.points) <= np.prod(divisions)
    if style == "Gamma":
        assert any(np.allclose(point, 0) for point in mesh.points)
    # A plane wave that the whole mesh cannot carry sums to zero over it, with the weights of what was kept.
    for axis, division in enumerate(divisions):
        if division > 2:
            total = (mesh.weights * np.cos(2 * np.pi * mesh.points[:, axis])).sum()
            assert total == pytest.approx(0, abs=1e-9)


def test_kspacing_makes_the_mesh_where_there_is_no_kpoints(write_run: Callable[..., Path]) -> None:
    folder = write_run(KSPACING="0.4")
    (folder / "KPOINTS").unlink()
    assert read_inputs(folder).kpoints.divisions == (4, 4, 4)  # 2π/4.3 = 1.46, 1.43 and 1.40 1/Å over 0.4
