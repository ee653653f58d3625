"""lobsterin and the files of VASP as LOBSTER reads them, and what it refuses.

The words "You are employing too few bands in your PAW calculation." are LOBSTER's, which custodian looks for. The other
refusals are known to happen, but not in which words; they begin with ERROR and end the run with exit status 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.cohp import Generator
from cathodeflow.calculators.rehearsal.incar import Incar, parse_incar
from cathodeflow.calculators.rehearsal.inputs import read_crystal
from cathodeflow.calculators.rehearsal.kpoints import read_kpoints
from cathodeflow.errors import CalculationError

FROM_VASP = ("CONTCAR", "OUTCAR", "vasprun.xml", "WAVECAR")
SHELLS = {"s": ("",), "p": ("_y", "_z", "_x"), "d": ("_xy", "_yz", "_z^2", "_xz", "_x^2-y^2")}
_F_SHELL = ("_y(3x^2-y^2)", "_xyz", "_yz^2", "_z^3", "_xz^2", "_z(x^2-y^2)", "_x(x^2-3y^2)")
_FUNCTION = re.compile(r"[1-7][spdf]")
_GENERATOR = re.compile(
    r"from\s+([\d.]+)\s+to\s+([\d.]+)(?:\s+type\s+([A-Za-z]+)\s+type\s+([A-Za-z]+))?(?:\s+orbitalwise)?$", re.IGNORECASE
)
_NUMBERS = {"cohpstartenergy", "cohpendenergy", "cohpsteps", "gaussiansmearingwidth", "usedecimalplaces"}
_OTHERS = {
    "basisset",
    "basisfunctions",
    "cohpgenerator",
    "skipdos",
    "skipcohp",
    "skipcoop",
    "skipcobi",
    "skipmofe",
    "skipmolecularorbitals",
    "skipmadelungenergy",
    "skippopulationanalysis",
    "skipgrosspopulation",
    "saveprojectiontofile",
    "printtotalspilling",
    "forceenergyrange",
    "nomemorymappedfiles",
    "skippaworthonormalitytest",
    "donotignoreexcessivebands",
    "autorotate",
    "userecommendedbasisfunctions",
}


@dataclass(frozen=True)
class LobsterInputs:
    """Everything a run starts from.

    Attributes
    ----------
    cell, fractional : ndarray
        Lattice vectors as rows, Å, and positions, of CONTCAR.
    elements : list of str
        Of each atom.
    basis : dict
        Element to its functions, such as ``("3d", "3p", "4s")``.
    generators : list of Generator
        Which bonds are asked for.
    start, end : float
        Energy range relative to the Fermi level, eV.
    steps : int
        Energies of a curve.
    skipped : set of str
        What is not to be written, of ``cohp``, ``coop``, ``cobi``, ``dos``, ``populationanalysis``.
    spins, bands : int
        Of VASP's run.
    fermi : float
        eV.
    tells_total : bool
        Whether the protocol is to tell the total spilling beside that of the charge.
    """

    cell: np.ndarray
    fractional: np.ndarray
    elements: list[str]
    basis: dict[str, tuple[str, ...]]
    generators: list[Generator]
    start: float
    end: float
    steps: int
    skipped: set[str]
    spins: int
    bands: int
    fermi: float
    tells_total: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def functions(self) -> int:
        """Number of basis functions of the cell."""
        return sum(len(orbitals(name)) for element in self.elements for name in self.basis[element])


def orbitals(function: str) -> tuple[str, ...]:
    """Return the orbitals of a basis function such as ``3d``."""
    return tuple(f"{function}{lobe}" for lobe in SHELLS.get(function[1], _F_SHELL))


def read_lobster_inputs(folder: Path) -> LobsterInputs:
    """Read the inputs of a run; raises CalculationError (reason ``refused``) where LOBSTER would stop."""
    given = _lobsterin(folder)
    for name in FROM_VASP:
        if not (folder / name).is_file() or not (folder / name).stat().st_size:
            raise _refused(f"cannot read {name}, which VASP should have left in this folder.")
    if not any((folder / name).is_file() for name in ("POTCAR", "POTCAR.spec")):
        raise _refused("cannot read POTCAR.")
    outcar = (folder / "OUTCAR").read_text(errors="replace")
    cell, fractional, elements = read_crystal(folder / "CONTCAR")
    numbers = {name: _number(name, given[name][-1]) for name in _NUMBERS & set(given)}
    inputs = LobsterInputs(
        cell=cell,
        fractional=fractional,
        elements=elements,
        basis=_basis(given, elements),
        generators=[_generator(text) for text in given.get("cohpgenerator", [])],
        start=numbers.get("cohpstartenergy", -10.0),
        end=numbers.get("cohpendenergy", 5.0),
        steps=int(numbers.get("cohpsteps", 201)),
        skipped={name.removeprefix("skip") for name in given if name.startswith("skip")},
        spins=int(_in_outcar(outcar, r"ISPIN\s*=\s*(\d)", "ISPIN")),
        bands=int(_in_outcar(outcar, r"NBANDS\s*=\s*(\d+)", "NBANDS")),
        fermi=_in_outcar(outcar, r"E-fermi\s*:\s*(-?[\d.]+)", "E-fermi"),
        tells_total="printtotalspilling" in given,
    )
    _refuse(folder, inputs, int(_in_outcar(outcar, r"NKPTS\s*=\s*(\d+)", "NKPTS")))
    return inputs


def _refused(text: str) -> CalculationError:
    return CalculationError("\n".join(f"ERROR: {line}" for line in text.splitlines()), "refused")


def _lobsterin(folder: Path) -> dict[str, list[str]]:
    """Return the values of each keyword, in small letters."""
    file = folder / "lobsterin"
    if not file.is_file():
        raise _refused("cannot read the file lobsterin. Is it in this folder?")
    given: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        words = re.split(r"!|#|//", line)[0].split(maxsplit=1)
        if not words:
            continue
        keyword = words[0].lower()
        if keyword not in _NUMBERS | _OTHERS:
            raise _refused(f"REHEARSAL: the keyword {words[0]} is unknown or not rehearsed.")
        given.setdefault(keyword, []).append(words[1].strip() if len(words) > 1 else "")
    return given


def _basis(given: dict[str, list[str]], elements: list[str]) -> dict[str, tuple[str, ...]]:
    basis = {}
    for text in given.get("basisfunctions", []):
        element, *functions = text.split() or [""]
        if not functions or not all(_FUNCTION.fullmatch(name) for name in functions):
            raise _refused(f"basisfunctions {text}: this is no element with its functions.")
        basis[element] = tuple(functions)
    missing = sorted(set(elements) - set(basis))
    if missing:
        raise _refused(f"there are no basis functions for {', '.join(missing)}.\nGive them by basisfunctions.")
    return basis


def _generator(text: str) -> Generator:
    match = _GENERATOR.match(text)
    if match is None:
        raise _refused(f"cohpGenerator {text}: this cannot be read.")
    types = frozenset((match[3], match[4])) if match[3] else None
    return Generator(float(match[1]), float(match[2]), types)


def _number(name: str, text: str) -> float:
    try:
        return float(text.split(maxsplit=1)[0])
    except (ValueError, IndexError) as error:
        raise _refused(f"{name} {text}: a number was expected.") from error


def _in_outcar(text: str, pattern: str, name: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise _refused(f"cannot find {name} in OUTCAR.")
    return float(found[1])


def _refuse(folder: Path, inputs: LobsterInputs, points: int) -> None:
    if inputs.bands < inputs.functions:
        raise _refused(
            "You are employing too few bands in your PAW calculation.\n"
            f"NBANDS is {inputs.bands}, but the basis has {inputs.functions} functions."
        )
    if not (inputs.start < 0 < inputs.end) or inputs.steps < 2:
        raise _refused("the energy range must hold the Fermi level, and two energies or more.")
    file = folder / "INCAR"
    given = parse_incar(file.read_text()).given if file.is_file() else {}
    whole = Incar({**given, "ISYM": -1})
    if not (folder / "KPOINTS").is_file() and "KSPACING" not in given:
        raise _refused("cannot read KPOINTS.")
    mesh = read_kpoints(folder, whole, inputs.cell, inputs.fractional, inputs.elements)
    if points < len(mesh.points):
        raise _refused(
            f"VASP used {points} k-points that its symmetry left of {len(mesh.points)}.\n"
            "Switch the symmetry off (ISYM = -1 or 0) and run VASP again."
        )
