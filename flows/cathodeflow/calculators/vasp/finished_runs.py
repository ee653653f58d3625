"""Finished relaxations in folders of any origin: finding them, reading them, and refusing what is not whole.

Import this module lazily: pymatgen's parsers take about a second.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cathodeflow.calculators.vasp.first_step import first_steps
from cathodeflow.calculators.vasp.results import interventions_in, require_converged
from cathodeflow.calculators.vasp.stand_ins import generator_of, stand_in_of
from cathodeflow.calculators.zipped_files import DAMAGED, content_of, existing
from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import Intervention
from cathodeflow.records.outcomes import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from pymatgen.io.vasp.outputs import Vasprun

SECOND = "second"
"""Folder of the second of two relaxations, in that of the first (`relaxing.SECOND`)."""
SIGNS_OF_VASP = ("INCAR", "OUTCAR", "OSZICAR", "CONTCAR")
"""Files that tell a run whose vasprun.xml is missing from a folder of something else."""
TWO_IN_A_FOLDER = ("vasprun.xml.relax1", "vasprun.xml.relax2")
"""Two relaxations as custodian's double relaxation leaves them."""
SAME_CELL = 1e-3
"""Å. Two relaxations in a row hand geometries over in files rounded to less."""


@dataclass(frozen=True)
class FinishedRun:
    """One relaxation, or two in a row in one folder.

    Attributes
    ----------
    folder : Path
        Where it ran.
    sha256 : str
        Of its vasprun.xml, unzipped: copies of a run have the same.
    stand_in : str or None
        What stood in for VASP: ``rehearsal`` and the potential's name; None for VASP.
    version : str
        Of the program.
    incar : dict of str to object
        Tags as INCAR had them.
    parameters : dict of str to object
        Tags as VASP took them, defaults included.
    divisions : tuple of int or None
        Of the mesh of k-points along the reciprocal axes; None where it is a list of points.
    potcar_titles : tuple of str
        One per kind of atom.
    hubbard_u : dict of str to float
        U above zero by element, eV.
    start, end : Structure
        First and last geometry, sites in the order of the run. Where custodian started the run again from a later
        geometry, the first one is that of its first attempt.
    energy_before, energy_after : float
        Of these, at zero smearing, eV.
    forces : (n_atoms, 3) float array
        In the last geometry, eV/Å.
    steps : int
        Ionic steps after the first.
    relaxations : int
        How many in a row.
    converged : bool
        Whether all of them converged, as the parser sees it.
    start_converged : bool
        Whether the electrons of the first ionic step did.
    wall_s : float
        Wall time, s; 0 where no OUTCAR says it.
    cores : int
        Ranks; 1 where no OUTCAR says it.
    interventions : tuple of Intervention
        What custodian did.
    """

    folder: Path
    sha256: str
    stand_in: str | None
    version: str
    incar: dict[str, Any]
    parameters: dict[str, Any]
    divisions: tuple[int, int, int] | None
    potcar_titles: tuple[str, ...]
    hubbard_u: dict[str, float]
    start: Structure
    end: Structure
    energy_before: float
    energy_after: float
    forces: NDArray[np.float64]
    steps: int
    relaxations: int
    converged: bool
    start_converged: bool
    wall_s: float
    cores: int
    interventions: tuple[Intervention, ...]

    def value(self, tag: str, default: Any = None) -> Any:
        """Return a tag as VASP took it, as INCAR had it, or the default."""
        return self.parameters.get(tag, self.incar.get(tag, default))

    @property
    def potcar_symbols(self) -> dict[str, str]:
        """POTCAR by element, such as ``V: V_pv``."""
        symbols = [title.split()[1] for title in self.potcar_titles if len(title.split()) > 1]
        return {re.split(r"[_.]", symbol)[0]: symbol for symbol in symbols}

    @property
    def largest_force(self) -> float:
        """Largest residual force on an atom, eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())


def find_runs(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the folders below some that look like runs of VASP, each once, in the order of their names.

    A folder that is named but holds no run, or does not exist, is yielded itself: reading it says why.
    """
    seen: set[Path] = set()
    for named in folders:
        found = False
        for path, below, files in os.walk(named):
            below.sort()
            if _looks_like_a_run(files):
                below[:] = [name for name in below if name != SECOND]
                found = True
                folder = Path(path)
                if folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    yield folder
        if not found and named.resolve() not in seen:
            seen.add(named.resolve())
            yield named


def _looks_like_a_run(files: Iterable[str]) -> bool:
    stems = {name.removesuffix(".gz") for name in files}
    return any(stem.startswith("vasprun.xml") for stem in stems) or bool(stems & set(SIGNS_OF_VASP))


def read_run(folder: Path) -> FinishedRun:
    """Read a relaxation.

    Parameters
    ----------
    folder : Path
        With ``vasprun.xml``, zipped or not. Two relaxations in a row lie in it as ``vasprun.xml.relax1`` and
        ``.relax2``, or the second one in a folder `SECOND`. What there is of ``custodian.json``, ``OUTCAR`` and
        custodian's ``error.N.tar.gz`` is read too.

    Returns
    -------
    FinishedRun
        Whole, with finite numbers; whether it is usable `require_usable` and `compatibility.differences` tell.

    Raises
    ------
    CalculationError
        A file is missing, cut off or of something else than a relaxation.
    """
    from pymatgen.core.structure import StructureError

    files = _vaspruns(folder)
    contents = [_unzipped(file) for file in files]
    runs = [_parsed(file, content) for file, content in zip(files, contents, strict=True)]
    for earlier, later in pairwise(runs):
        _require_handed_over(earlier, later, folder)
    first, last = runs[0], runs[-1]
    wall_s, cores = _cost(folder)
    generator = generator_of(contents[-1])
    try:
        begin = _beginning(first, folder)
        run = FinishedRun(
            folder=folder,
            sha256=hashlib.sha256(b"".join(contents)).hexdigest(),
            stand_in=stand_in_of(generator),
            version=generator.get("version", "unknown"),
            incar=dict(last.incar),
            parameters=dict(last.parameters),
            divisions=_divisions(last),
            potcar_titles=tuple(map(str, last.potcar_symbols)),
            hubbard_u={element: float(value) for element, value in last.hubbards.items() if value},
            start=begin.structure,
            end=last.final_structure,
            energy_before=begin.energy,
            energy_after=float(last.final_energy),
            forces=np.asarray(last.ionic_steps[-1]["forces"], dtype=np.float64),
            steps=sum(len(part.ionic_steps) for part in runs) - 1,
            relaxations=len(runs),
            converged=all(part.converged for part in runs),
            start_converged=begin.converged,
            wall_s=wall_s,
            cores=cores,
            interventions=(*interventions_in(folder), *interventions_in(folder / SECOND)),
        )
    except (LookupError, TypeError, ValueError, AttributeError, StructureError) as error:
        raise _broken(files[-1], f"it lacks a part ({type(error).__name__}: {error})") from error
    _require_whole(run, files[-1])
    return run


@dataclass(frozen=True)
class _Beginning:
    """The geometry a run began with, and its energy."""

    structure: Structure
    energy: float
    converged: bool


def _beginning(first: Vasprun, folder: Path) -> _Beginning:
    """Return where the first attempt began; of the attempts that did, the latest with converged electrons counts."""
    step = first.ionic_steps[0]
    own = _Beginning(
        step["structure"], float(step["e_0_energy"]), len(step["electronic_steps"]) < int(first.parameters["NELM"])
    )
    species = [site.specie for site in own.structure]
    attempts = [
        _Beginning(type(own.structure)(at.lattice, species, at.fractional), at.energy, at.converged)
        for at in first_steps(folder)
        if len(at.fractional) == len(species)
    ]
    if not attempts or _found(folder, "vasprun.xml") is None:
        attempts.insert(0, own)
    same = [attempt for attempt in attempts if _same_cell(attempt.structure, attempts[-1].structure)]
    return next((attempt for attempt in same if attempt.converged), same[0])


def _same_cell(one: Structure, other: Structure) -> bool:
    if [site.specie for site in one] != [site.specie for site in other]:
        return False
    apart = one.frac_coords - other.frac_coords
    moved = (apart - np.round(apart)) @ one.lattice.matrix
    strained = one.lattice.matrix - other.lattice.matrix
    return max(float(np.abs(moved).max()), float(np.abs(strained).max())) <= SAME_CELL


def _vaspruns(folder: Path) -> list[Path]:
    """Return the run's files in the order they were written."""
    if not folder.is_dir():
        raise CalculationError("there is no such folder", Reason.BROKEN_OUTPUT)
    for names in (("vasprun.xml", f"{SECOND}/vasprun.xml"), ("vasprun.xml",), TWO_IN_A_FOLDER):
        chosen = [_found(folder, name) for name in names]
        whole = [path for path in chosen if path is not None]
        if len(whole) == len(names):
            return whole
    if any(folder.glob("vasprun.xml*")):
        listed = ", ".join(sorted(path.name for path in folder.glob("vasprun.xml*")))
        raise CalculationError(f"of its files only {listed} are there: two relaxations need both", Reason.BROKEN_OUTPUT)
    raise CalculationError("there is no vasprun.xml in it", Reason.BROKEN_OUTPUT)


def _found(folder: Path, name: str) -> Path | None:
    path = existing(folder, name)
    return path if path.is_file() else None


def _unzipped(path: Path) -> bytes:
    try:
        content = content_of(path)
    except DAMAGED as error:
        raise _broken(path, f"it cannot be read ({error})") from error
    if not content.rstrip().endswith(b"</modeling>"):
        raise _broken(path, "it is cut off" if content else "it is empty")
    return content


def _parsed(path: Path, content: bytes) -> Vasprun:
    from pymatgen.core.structure import StructureError
    from pymatgen.io.vasp.outputs import VaspParseError, Vasprun

    damage = (SyntaxError, VaspParseError, StructureError, ValueError, LookupError, TypeError, AttributeError)
    if b"<calculation>" not in content:
        raise _broken(path, "it holds no ionic step")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unconverged run is judged by `require_usable`
            return Vasprun(path, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    except (*damage, OSError, EOFError) as error:
        # What pymatgen raises for a damaged file differs from place to place; errors of XML are SyntaxErrors.
        raise _broken(path, f"it cannot be parsed ({type(error).__name__}: {error})") from error


def _broken(path: Path, why: str) -> CalculationError:
    return CalculationError(f"{path.name}: {why}", Reason.BROKEN_OUTPUT)


def _require_handed_over(earlier: Vasprun, later: Vasprun, folder: Path) -> None:
    """Refuse a second relaxation that does not start where the first one ended."""
    if not _same_cell(earlier.final_structure, later.ionic_steps[0]["structure"]):
        raise CalculationError(f"its second relaxation does not start where the first ended in {folder}")


def _require_whole(run: FinishedRun, path: Path) -> None:
    if run.forces.shape != (len(run.end), 3) or [s.specie for s in run.start] != [s.specie for s in run.end]:
        raise _broken(path, "its geometries and forces are not of the same atoms")
    numbers = [run.energy_before, run.energy_after, *run.forces.flat, *run.end.frac_coords.flat]
    if not np.isfinite(numbers).all() or not np.isfinite(run.end.lattice.matrix).all():
        raise CalculationError(f"{path.name}: it has energies, forces or positions that are no numbers", "non_finite")


def _divisions(run: Vasprun) -> tuple[int, int, int] | None:
    if len(run.actual_kpoints) == 1 and not np.abs(run.actual_kpoints[0]).any():
        return (1, 1, 1)
    points = run.kpoints.kpts
    if run.kpoints.style.name in {"Gamma", "Monkhorst", "Automatic"} and points and len(points[0]) == 3:
        return (int(points[0][0]), int(points[0][1]), int(points[0][2]))
    return None


def _cost(folder: Path) -> tuple[float, int]:
    """Return wall time and ranks that OUTCAR tells of; two relaxations are added up."""
    wall_s, cores = 0.0, 1
    for stem in ("OUTCAR", f"{SECOND}/OUTCAR", "OUTCAR.relax1", "OUTCAR.relax2"):
        file = _found(folder, stem)
        if file is None:
            continue
        try:
            text = content_of(file)
        except DAMAGED:
            continue  # the cost alone is lost with it
        if elapsed := re.findall(rb"Elapsed time \(sec\):\s*([\d.]+)", text):
            wall_s += float(elapsed[-1])
        if ranks := re.search(rb"running(?: on)?\s+(\d+)\s+(?:total cores|mpi-ranks)", text):
            cores = int(ranks.group(1))
    return wall_s, cores


def require_usable(run: FinishedRun, max_force: float) -> None:
    """Refuse a run that did not converge.

    Parameters
    ----------
    run : FinishedRun
        From `read_run`.
    max_force : float
        Largest residual force that the campaign's preset allows, eV/Å.

    Raises
    ------
    CalculationError
        As `results.require_converged`; also where the electrons of the first geometry did not converge, since its
        energy is half of a relaxation energy (S0 eq. 2), and of runs that moved no ions.
    """
    if int(run.value("NSW", 0)) < 1 or int(run.value("IBRION", -1)) not in (1, 2, 3):
        raise CalculationError("it is no relaxation (NSW and IBRION move no ions to a minimum)")
    require_converged(
        run.converged, run.interventions, run.folder, largest_force=run.largest_force, max_force=max_force
    )
    if not run.start_converged:
        raise CalculationError(
            "the electrons of its first geometry did not converge, so that there is no energy before relaxation",
            Reason.NOT_CONVERGED,
        )
