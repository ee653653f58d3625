"""The stand-in ``bader``: the command line and the files of Henkelman's program, the true partition of a density.

Run as ``python -m cathodeflow.calculators.rehearsal.bader CHGCAR [-ref CHGCAR_sum]``; `private_bin` makes a program of
it. The partition is that of `cathodeflow.calculators.bader.partition`, so a comparison of the two shows nothing about
the method, only about the files between.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    import numpy as np

VERSION = "1.05"
RULE = " " + 81 * "-"
_WITH_VALUE = ("-ref", "-b", "-i", "-p", "-m", "-n", "-s", "-d", "-c", "-e", "-vac")


def main(arguments: list[str] | None = None) -> int:
    """Divide the density named first and return the exit status."""
    from cathodeflow.calculators.rehearsal.faults import faults_of_run, strike

    folder = Path.cwd()
    sys.stdout.write(f"\n  GRID BASED BADER ANALYSIS  (Version {VERSION} cathodeflow rehearsal)\n\n")
    try:
        density, reference = _arguments(sys.argv[1:] if arguments is None else arguments)
        faults = faults_of_run(folder, "bader", (density,))
        strike(faults, folder / "ACF.dat")
        _divide(folder, density, reference)
    except CalculationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("    WRITING BADER ATOMIC CHARGES TO ACF.dat\n    WRITING BADER VOLUME CHARGES TO BCF.dat\n")
    return strike(faults, folder / "ACF.dat", at_end=True)


def _arguments(given: list[str]) -> tuple[Path, Path]:
    """Return the density and what its surfaces are found in."""
    files: list[str] = []
    reference = None
    rest = iter(given)
    for word in rest:
        if word in _WITH_VALUE:
            value = next(rest, "")
            reference = value if word == "-ref" else reference
        elif word.startswith("-"):
            raise CalculationError(f" Unknown option flag {word}", "refused")
        else:
            files.append(word)
    if len(files) != 1:
        raise CalculationError(" ERROR: Did not read a charge density file name in the arguments", "refused")
    density, surfaces = Path(files[0]), Path(reference if reference is not None else files[0])
    for file in (density, surfaces):
        if not file.is_file():
            raise CalculationError(f" ERROR: charge density file {file} does not exist", "refused")
    return density, surfaces


def _divide(folder: Path, density: Path, reference: Path) -> None:
    import numpy as np

    from cathodeflow.calculators.bader.chgcar import read_density
    from cathodeflow.calculators.bader.partition import partition

    sys.stdout.write(f"  OPEN ...  {density}\n  VASP-STYLE INPUT FILE\n")
    content, surfaces = read_density(density), read_density(reference)
    if content.density.values.shape != surfaces.density.values.shape:
        raise CalculationError(" ERROR: the reference grid has another size", "refused")
    sys.stdout.write("  CLOSE ...\n  RUN TIME:    0.00 SECONDS\n")
    found = partition(
        np.ascontiguousarray(content.density.values),
        np.ascontiguousarray(surfaces.density.values),
        content.density.lattice,
        content.positions,
    )
    places = content.positions @ content.density.lattice
    electrons = content.density.electrons
    write_acf(folder / "ACF.dat", places, found, electrons)
    write_volumes(folder, places, found)


def write_acf(file: Path, places: np.ndarray, found: dict[str, Any], electrons: float) -> None:
    """Write ACF.dat: position, Å, electrons, distance to the surface, Å, and volume, Å^3, of each atom."""
    lines = ["    #         X           Y           Z        CHARGE     MIN DIST    ATOMIC VOL", RULE]
    columns = zip(places, found["electrons"], found["min_distances"], found["volumes"], strict=True)
    for number, (place, charge, distance, volume) in enumerate(columns, start=1):
        near = distance if distance > 0 else 0.0  # nan: no surface was found
        lines.append(f"{number:5d}" + "".join(f"{value:13.6f}" for value in (*place, charge, near, volume)))
    lines += [RULE, f"    VACUUM CHARGE:         {0.0:12.4f}", f"    VACUUM VOLUME:         {0.0:12.4f}"]
    lines.append(f"    NUMBER OF ELECTRONS:  {electrons:13.5f}")
    file.write_text("\n".join(lines) + "\n")


def write_volumes(folder: Path, places: np.ndarray, found: dict[str, Any]) -> None:
    """Write BCF.dat and AVF.dat as if every atom had one volume with its maximum at the nucleus."""
    lines = ["    #         X           Y           Z        CHARGE     ATOM    DISTANCE", RULE]
    atoms = ["   Atom                     Volume(s)", RULE]
    for number, (place, charge) in enumerate(zip(places, found["electrons"], strict=True), start=1):
        row = "".join(f"{value:13.6f}" for value in (*place, charge))
        lines.append(f"{number:5d}{row}{number:7d}{0.0:13.6f}")
        atoms.append(f"  {number:4d}   ...   {number:5d}")
    (folder / "BCF.dat").write_text("\n".join([*lines, RULE]) + "\n")
    (folder / "AVF.dat").write_text("\n".join([*atoms, RULE]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
