"""vasprun.xml, written step by step as VASP does, so that a killed run leaves a cut file."""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape

import numpy as np

from cathodeflow.calculators.rehearsal.electrons import ORBITALS, PROJECTED, Bands, number_of_bands
from cathodeflow.calculators.rehearsal.incar import DEFAULTS, Value
from cathodeflow.calculators.rehearsal.inputs import VaspInputs
from cathodeflow.calculators.rehearsal.ionic import IonicStep
from cathodeflow.calculators.rehearsal.tables import StateDensity

VERSION = "6.4.2"  # whose formats are followed
KILOBAR = 1602.1766208  # kbar per eV/Å^3


def header(inputs: VaspInputs) -> str:
    """Return everything before the first ionic step; the platform names the potential."""
    from cathodeflow.calculators.rehearsal.potential import asked_potential

    parts = ['<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n']
    for name, text in (
        ("program", "vasp"),
        ("version", VERSION),
        ("subversion", "cathodeflow rehearsal, no VASP"),
        ("platform", f"rehearsal {asked_potential()}"),
        ("date", "2000 01 01"),
        ("time", "00:00:00"),
    ):
        parts.append(f'  <i name="{name}" type="string">{text}</i>\n')
    parts.append(" </generator>\n <incar>\n")
    parts += [_item(tag, value) for tag, value in inputs.incar.given.items()]
    parts.append(" </incar>\n")
    parts.append(_kpoints(inputs))
    parts.append(_parameters(inputs))
    parts.append(_atoms(inputs))
    parts.append(structure(inputs.cell, inputs.fractional, "initialpos"))
    return "".join(parts)


FOOTER = "</modeling>\n"


def calculation_begin(energies: list[float]) -> str:
    """Return the opening of an ionic step, with its electronic steps."""
    steps = [f"  <scstep>\n{_energies(energy)}  </scstep>\n" for energy in energies]
    return " <calculation>\n" + "".join(steps)


def calculation_results(step: IonicStep, energy: float) -> str:
    """Return geometry, forces, stress and energy of an ionic step; stress in VASP's sign, kbar."""
    return (
        structure(step.cell, step.fractional, None)
        + _array("forces", step.forces)
        + _array("stress", -step.stress * KILOBAR)
        + _energies(energy)
    )


def _energies(energy: float) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return "  <energy>\n" + "".join(f'   <i name="{name}">{energy:16.8f}</i>\n' for name in names) + "  </energy>\n"


def _item(tag: str, value: Value) -> str:
    if isinstance(value, list):
        return f'  <v name="{tag}"> {" ".join(f"{number:.8f}" for number in value)}</v>\n'
    if isinstance(value, bool):
        return f'  <i type="logical" name="{tag}"> {"T" if value else "F"}  </i>\n'
    if isinstance(value, int):
        return f'  <i type="int" name="{tag}">{value:6d}</i>\n'
    if isinstance(value, float):
        # Eight decimals, as VASP, would make EDIFF = 1E-9 zero.
        return (
            f'  <i name="{tag}"> {value:.8E}</i>\n'
            if 0 < abs(value) < 1e-7
            else f'  <i name="{tag}">{value:16.8f}</i>\n'
        )
    return f'  <i type="string" name="{tag}">{escape(value)}</i>\n'


def _parameters(inputs: VaspInputs) -> str:
    incar = inputs.incar
    values: dict[str, Value] = {**DEFAULTS, **incar.given}
    values["ENMAX"] = incar.number("ENCUT")
    values.pop("ENCUT")
    values["IBRION"] = incar.ibrion
    values["EDIFFG"] = incar.ediffg
    values["NBANDS"] = number_of_bands(inputs)
    values["NELECT"] = inputs.electrons
    if not incar.switch("LDAU"):
        values.pop("LDAUU", None)
    items = "".join(_item(tag, value) for tag, value in values.items())
    return f' <parameters>\n  <separator name="general">\n{items}  </separator>\n </parameters>\n'


def _kpoints(inputs: VaspInputs) -> str:
    mesh = inputs.kpoints
    parts = [" <kpoints>\n"]
    if mesh.divisions is not None:
        division = "".join(f"{number:8d}" for number in mesh.divisions)
        parts.append(f'  <generation param="{mesh.style}">\n   <v type="int" name="divisions">{division} </v>\n')
        parts.append('   <v name="usershift">  0.00000000  0.00000000  0.00000000 </v>\n  </generation>\n')
    elif mesh.style == "listgenerated":
        parts.append('  <generation param="listgenerated">\n')
        parts.append(f'   <i type="int" name="divisions">{len(mesh.points):8d} </i>\n  </generation>\n')
    parts.append(_array("kpointlist", mesh.points))
    parts.append(_array("weights", mesh.weights[:, None]))
    return "".join(parts) + " </kpoints>\n"


def _atoms(inputs: VaspInputs) -> str:
    from ase.data import atomic_masses, atomic_numbers

    sites = "".join(
        f"    <rc><c>{potential.element:<2}</c><c>{kind + 1:4d}</c></rc>\n"
        for kind, (potential, count) in enumerate(zip(inputs.potentials, inputs.counts, strict=True))
        for _ in range(count)
    )
    masses = [float(atomic_masses[atomic_numbers[potential.element]]) for potential in inputs.potentials]
    kinds = "".join(
        f"    <rc><c>{count:4d}</c><c>{potential.element:<2}</c><c>{mass:16.8f}</c>"
        f"<c>{potential.valence:16.8f}</c><c>  {potential.title:<40}</c></rc>\n"
        for potential, count, mass in zip(inputs.potentials, inputs.counts, masses, strict=True)
    )
    fields = "".join(
        f'   <field type="{kind}">{name}</field>\n'
        for kind, name in (
            ("int", "atomspertype"),
            ("string", "element"),
            ("", "mass"),
            ("", "valence"),
            ("string", "pseudopotential"),
        )
    ).replace(' type=""', "")
    return (
        f" <atominfo>\n  <atoms>{len(inputs.fractional):8d} </atoms>\n  <types>{len(inputs.counts):8d} </types>\n"
        '  <array name="atoms" >\n   <dimension dim="1">ion</dimension>\n   <field type="string">element</field>\n'
        f'   <field type="int">atomtype</field>\n   <set>\n{sites}   </set>\n  </array>\n'
        f'  <array name="atomtypes" >\n   <dimension dim="1">type</dimension>\n{fields}   <set>\n{kinds}   </set>\n'
        "  </array>\n </atominfo>\n"
    )


def structure(cell: np.ndarray, fractional: np.ndarray, name: str | None) -> str:
    """Return a crystal."""
    named = f' name="{name}"' if name else ""
    reciprocal = np.linalg.inv(cell).T
    volume = abs(float(np.linalg.det(cell)))
    return (
        f'  <structure{named} >\n   <crystal>\n{_array("basis", cell)}    <i name="volume">{volume:16.8f} </i>\n'
        f"{_array('rec_basis', reciprocal)}   </crystal>\n{_array('positions', fractional)}  </structure>\n"
    )


def _array(name: str, rows: np.ndarray) -> str:
    line: str = "   <v>" + " %.10f" * rows.shape[1] + " </v>\n"
    return f'  <varray name="{name}" >\n' + line * len(rows) % tuple(rows.ravel().tolist()) + "  </varray>\n"


def write_electrons(stream: TextIO, inputs: VaspInputs, bands: Bands, density: StateDensity) -> None:
    """Write eigenvalues, projections (LORBIT from 10) and the density of states, inside the last ionic step."""
    stream.write(_eigenvalues(bands, "  "))
    stream.write(f'  <dos>\n   <i name="efermi">{bands.fermi:16.8f} </i>\n')
    stream.write(
        '   <total>\n    <array>\n     <dimension dim="1">gridpoints</dimension>\n'
        '     <dimension dim="2">spin</dimension>\n'
    )
    stream.write(
        "".join(f"     <field>{name}</field>\n" for name in ("energy", "total", "integrated")) + "     <set>\n"
    )
    for spin in range(inputs.spins):
        stream.write(f'      <set comment="spin {spin + 1}">\n')
        _records(stream, np.vstack([density.energies, density.total[spin], density.integrated[spin]]).T)
        stream.write("      </set>\n")
    stream.write("     </set>\n    </array>\n   </total>\n")
    projected = inputs.incar.integer("LORBIT") >= 10
    if projected:
        _partial(stream, inputs, density)
    stream.write("  </dos>\n")
    if projected:
        _projected(stream, inputs, bands)


def _eigenvalues(bands: Bands, indent: str) -> str:
    parts: list[str] = [
        f'{indent}<eigenvalues>\n   <array>\n    <dimension dim="1">band</dimension>\n    <field>eigene</field>\n'
    ]
    parts.append("    <field>occ</field>\n    <set>\n")
    spins, points, count = bands.energies.shape
    for spin in range(spins):
        parts.append(f'     <set comment="spin {spin + 1}">\n')
        for point in range(points):
            rows = np.stack([bands.energies[spin, point], bands.occupations[spin, point]], axis=1)
            parts.append(f'      <set comment="kpoint {point + 1}">\n')
            parts.append("       <r> %.4f %.4f </r>\n" * count % tuple(rows.ravel().tolist()))
            parts.append("      </set>\n")
        parts.append("     </set>\n")
    return "".join(parts) + f"    </set>\n   </array>\n{indent}</eigenvalues>\n"


def _records(stream: TextIO, rows: np.ndarray) -> None:
    line = "       <r>" + " %.4f" * rows.shape[1] + " </r>\n"
    stream.write(line * len(rows) % tuple(rows.ravel().tolist()))


def _partial(stream: TextIO, inputs: VaspInputs, density: StateDensity) -> None:
    stream.write(
        '   <partial>\n    <array>\n     <dimension dim="1">gridpoints</dimension>\n'
        '     <dimension dim="2">spin</dimension>\n     <dimension dim="3">ion</dimension>\n'
    )
    stream.write("".join(f"     <field>{name}</field>\n" for name in ("energy", *ORBITALS)) + "     <set>\n")
    for site in range(len(inputs.fractional)):
        stream.write(f'      <set comment="ion {site + 1}">\n')
        for spin in range(inputs.spins):
            stream.write(f'       <set comment="spin {spin + 1}">\n')
            _records(stream, np.vstack([density.energies, density.partial[spin, site]]).T)
            stream.write("       </set>\n")
        stream.write("      </set>\n")
    stream.write("     </set>\n    </array>\n   </partial>\n")


def _projected(stream: TextIO, inputs: VaspInputs, bands: Bands) -> None:
    stream.write("  <projected>\n" + _eigenvalues(bands, "   ") + "   <array>\n")
    stream.write("".join(f"    <field>{name}</field>\n" for name in ORBITALS) + "    <set>\n")
    sites = len(inputs.fractional)
    nothing = "         <r>" + " 0.0000" * len(ORBITALS) + " </r>\n"
    own = [
        nothing.replace("0.0000", "%s")
        % tuple(f"{PROJECTED:.4f}" if other == orbital else "0.0000" for other in range(len(ORBITALS)))
        for orbital in range(len(ORBITALS))
    ]
    spins, points, count = bands.energies.shape
    for spin in range(spins):
        stream.write(f'     <set comment="spin{spin + 1}">\n')
        for point in range(points):
            stream.write(f'      <set comment="kpoint {point + 1}">\n')
            for band in range(count):
                atom, orbital = bands.atoms[spin, point, band], bands.orbitals[spin, point, band]
                stream.write(f'       <set comment="band {band + 1}">\n')
                stream.write(
                    nothing * sites if atom < 0 else nothing * atom + own[orbital] + nothing * (sites - atom - 1)
                )
                stream.write("       </set>\n")
            stream.write("      </set>\n")
        stream.write("     </set>\n")
    stream.write("    </set>\n   </array>\n  </projected>\n")
