"""LOBSTER's files are read whole or not at all, and bonds keep their numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathodeflow.calculators.lobster.outputs import read_icohplist, read_lobster, read_lobsterout
from cathodeflow.errors import CalculationError

SPECIES = ("V", "O", "O", "F")
BONDS = [  # atoms, length, translation, up, down
    ("V1", "O2", 1.98765, (0, 0, 0), -1.23456, -1.34567),
    ("V1", "O3", 2.01234, (0, -1, 0), -1.11111, -1.22222),
    ("V1", "F4", 2.10987, (1, 0, 0), -0.98765, -0.87654),
    ("O2", "F4", 2.80000, (1, 0, 1), 0.01234, 0.02345),
]


def list_of_version_3(spins: int) -> str:
    """Return the list with one block per channel."""
    text = ""
    for spin in range(spins):
        text += f"  COHP#  atomMU  atomNU     distance     translation      ICOHP (at) eF   for spin  {spin + 1}\n"
        for number, (first, second, length, shift, *values) in enumerate(BONDS, 1):
            cells = "".join(f"{n:4d}" for n in shift)
            text += f"{number:7d}{first:>8s}{second:>8s}{length:13.5f}{cells}{values[spin]:19.5f}\n"
    return text


def list_of_version_5(spins: int, orbitals: bool = False) -> str:
    """Return the list with one column per channel."""
    text = "  COHP#    atomMU    atomNU   distance   translation" + "   ICOHP (at) eF " * spins + "\n" + 58 * " "
    text += "       ".join(f"for spin {spin + 1}" for spin in range(spins)) + " \n"
    for number, (first, second, length, shift, *values) in enumerate(BONDS, 1):
        pairs = [(first, second, 1.0)]
        if orbitals:
            pairs += [(f"{first}_3d_xy", f"{second}_2p_x", 0.75), (f"{first}_4s", f"{second}_2s", 0.25)]
        for one, other, part in pairs:
            cells = "".join(f"{n:4d}" for n in shift)
            columns = "".join(f"{part * value:17.5f}" for value in values[:spins])
            text += f"{number:7d}{one:>10s}{other:>10s}{length:11.5f}{cells}{columns} \n"
    return text


def cohpcar(spins: int, orbitals: bool = False) -> str:
    """Return the head of a COHPCAR: its second line counts the curves."""
    labels = ["Average"]
    for number, (first, second, length, _, *_) in enumerate(BONDS, 1):
        labels.append(f"No.{number}:{first}->{second}({length})")
        if orbitals:
            labels += [f"No.{number}:{first}[3d_xy]->{second}[2p_x]({length})"]
            labels += [f"No.{number}:{first}[4s]->{second}[2s]({length})"]
    return f"file\n {len(labels)} {spins} 3 -10.0 5.0 1.234\n" + "\n".join(labels) + "\n -10.0 0.0 0.0\n"


def protocol(spins: int, spilling: float = 1.12, total: bool = True) -> str:
    """Return a lobsterout; since version 5 the total spilling is there only if lobsterin has printTotalSpilling."""
    spillings = "".join(
        (f"spillings for spin channel {spin + 1}\n" if spins == 2 else "")
        + ("abs. total  spilling:   9.23%\n" if total else "")
        + f"abs. charge spilling: {spilling + spin:6.2f}%\n\n"
        for spin in range(spins)
    )
    return (
        "LOBSTER v4.1.0 (g++ 7.5.0)\n"
        "starting on host node1 on 2026-11-21 at 10:31:41 CST using 4 threads\n"
        "detecting used PAW program... VASP\n"
        "initializing PW system...\n"
        "setting up local basis functions...\n"
        "V (pbeVaspFit2015) 3d_xy 3d_yz 4s \n"
        "O (pbeVaspFit2015) 2s 2p_y 2p_z 2p_x \n"
        "F (pbeVaspFit2015) 2s 2p_y 2p_z 2p_x \n"
        "setting up CO interactions... found 4 interactions.\n"
        "WARNING: Cannot use the tetrahedron method.\n"
        "calculating overlaps...\n"
        f"post-processing projection...\n{spillings}"
        "writing COHPCAR.lobster and ICOHPLIST.lobster...\n"
        "finished in 0 h  0 min  1 s 704 ms of wall time\n"
        "            0 h  0 min  6 s 360 ms of user time\n"
        "            0 h  0 min  0 s  80 ms of sys  time\n"
    )


LISTS = {
    "version 3, one channel": (list_of_version_3(1), 1),
    "version 3, two channels": (list_of_version_3(2), 2),
    "version 5, one channel": (list_of_version_5(1), 1),
    "version 5, two channels": (list_of_version_5(2), 2),
    "version 5, orbitals": (list_of_version_5(2, orbitals=True), 2),
}


def folder_of(tmp_path, spins, text, orbitals=False):
    (tmp_path / "ICOHPLIST.lobster").write_text(text)
    (tmp_path / "COHPCAR.lobster").write_text(cohpcar(spins, orbitals))
    (tmp_path / "lobsterout").write_text(protocol(spins))
    return tmp_path


@pytest.mark.parametrize("case", LISTS)
def test_every_bond_keeps_its_atoms_and_numbers(tmp_path, case):
    text, spins = LISTS[case]
    result = read_lobster(folder_of(tmp_path, spins, text, "orbitals" in case), SPECIES)
    assert len(result.bonds) == len(BONDS)
    for bond, (first, second, length, shift, *values) in zip(result.bonds, BONDS, strict=True):
        assert bond.atoms == (int(first[1:]) - 1, int(second[1:]) - 1)
        assert (bond.length, bond.translation) == (length, shift)
        assert bond.icohp == pytest.approx(values[:spins])
        assert bond.strength == pytest.approx(-sum(values[:spins]))
    assert len(result.quality.charge_spilling) == spins


def test_the_protocol_gives_basis_spilling_and_warnings(tmp_path):
    (tmp_path / "lobsterout").write_text(protocol(2))
    quality = read_lobsterout(tmp_path / "lobsterout")
    assert quality.version == "v4.1.0"
    assert quality.charge_spilling == pytest.approx((0.0112, 0.0212))
    assert quality.total_spilling == pytest.approx((0.0923, 0.0923))
    assert quality.basis["V"] == ("3d_xy", "3d_yz", "4s")
    assert quality.warnings == ("Cannot use the tetrahedron method.",)


@pytest.mark.parametrize("spins", [1, 2])
def test_a_protocol_of_version_5_need_not_tell_the_total_spilling(tmp_path, spins):
    folder = folder_of(tmp_path, spins, list_of_version_5(spins))
    said = protocol(spins, total=False).replace("v4.1.0 (g++ 7.5.0)", "v5.1.1 (g++ 9.3.0)")
    (folder / "lobsterout").write_text(said)
    quality = read_lobster(folder, SPECIES).quality
    assert quality.charge_spilling == pytest.approx((0.0112, 0.0212)[:spins])
    assert quality.total_spilling == ()


@pytest.mark.parametrize("gone", ["abs. charge spilling:   1.12%\n", "abs. total  spilling:   9.23%\n"])
def test_a_protocol_that_lost_the_spilling_of_one_channel_is_refused(tmp_path, gone):
    (tmp_path / "lobsterout").write_text(protocol(2).replace(gone, "", 1))
    with pytest.raises(CalculationError, match="spilling of every channel"):
        read_lobsterout(tmp_path / "lobsterout")


@pytest.mark.parametrize("case", LISTS)
@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_list_cut_anywhere_is_refused_or_has_lost_nothing(tmp_path_factory, case, part):
    text, spins = LISTS[case]
    cut = text[: int(part * len(text))]
    folder = folder_of(tmp_path_factory.mktemp("lobster"), spins, cut, "orbitals" in case)
    try:
        result = read_lobster(folder, SPECIES)
    except CalculationError:
        return
    # Only the end of the last line, or orbitals of the last bond, which are not read, may be gone.
    whole = read_lobster(folder_of(tmp_path_factory.mktemp("whole"), spins, text, "orbitals" in case), SPECIES)
    assert result.bonds == whole.bonds


@pytest.mark.parametrize("case", LISTS)
@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_changes_one_number_at_most(tmp_path_factory, case, part, byte):
    text, spins = LISTS[case]
    folder = folder_of(tmp_path_factory.mktemp("lobster"), spins, text, "orbitals" in case)
    raw = bytearray(text.encode())
    raw[int(part * len(raw))] = byte
    (folder / "ICOHPLIST.lobster").write_bytes(bytes(raw))
    try:
        found = read_lobster(folder, SPECIES).bonds
    except CalculationError:
        return
    assert len(found) == len(BONDS)
    changed = sum(
        (bond.atoms != (int(first[1:]) - 1, int(second[1:]) - 1))
        + (bond.length != length)
        + (bond.translation != shift)
        + sum(one != other for one, other in zip(bond.icohp, values, strict=False))
        for bond, (first, second, length, shift, *values) in zip(found, BONDS, strict=True)
    )
    assert changed <= 1


@settings(max_examples=80, deadline=None)
@given(spins=st.sampled_from([1, 2]), part=st.floats(0, 1, exclude_max=True))
def test_a_protocol_cut_before_its_end_is_refused(tmp_path_factory, spins, part):
    text = protocol(spins).rstrip("\n").removesuffix(" of sys  time")
    path = tmp_path_factory.mktemp("lobster") / "lobsterout"
    path.write_text(text[: int(part * len(text)) + 1])
    with pytest.raises(CalculationError):
        read_lobsterout(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-1.11111", "-1.1x111"),
        ("-1.11111", "nan"),
        ("-1.11111", "-1111.11111"),
        ("O3", "O9"),
        ("O3", "V3"),
        ("      2  ", "      7  "),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, old, new):
    text = list_of_version_3(1).replace(old, new)
    assert text != list_of_version_3(1)
    with pytest.raises(CalculationError):
        read_lobster(folder_of(tmp_path, 1, text), SPECIES)


def test_files_of_different_runs_or_missing_ones_are_refused(tmp_path):
    folder = folder_of(tmp_path, 2, list_of_version_3(2))
    (folder / "COHPCAR.lobster").write_text(cohpcar(1))
    with pytest.raises(CalculationError, match="spin channels"):
        read_lobster(folder, SPECIES)
    (folder / "COHPCAR.lobster").write_text("file\n")
    with pytest.raises(CalculationError, match="damaged or incomplete"):
        read_lobster(folder, SPECIES)
    (folder / "ICOHPLIST.lobster").unlink()
    with pytest.raises(CalculationError, match="missing"):
        read_icohplist(folder / "ICOHPLIST.lobster", SPECIES)
