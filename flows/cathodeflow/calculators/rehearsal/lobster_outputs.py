"""LOBSTER's files, in the formats of its version 5: lists, curves, charges."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cathodeflow.calculators.rehearsal.cohp import FACTORS, SPIN_SHARES, Interaction, curve, held, strength
from cathodeflow.calculators.rehearsal.electrons import TRANSFER
from cathodeflow.calculators.rehearsal.lobster_inputs import LobsterInputs


def write_list(file: Path, kind: str, inputs: LobsterInputs, bonds: list[Interaction]) -> None:
    """Write ICOHPLIST.lobster, or that of COOP or COBI (`kind`): one line per bond, one column per spin."""
    shares = SPIN_SHARES[inputs.spins]
    factor = FACTORS[kind] * held(inputs.start, 0.0)
    columns = "".join(f"   I{kind} (at) eF " for _ in shares)
    lines = [f"  {kind}#    atomMU    atomNU   distance   translation{columns}"]
    lines.append(58 * " " + "       ".join(f"for spin {spin + 1}" for spin in range(inputs.spins)) + " ")
    for number, bond in enumerate(bonds, start=1):
        first, second = (f"{inputs.elements[atom]}{atom + 1}" for atom in bond.atoms)
        whole = _strength(inputs, bond) * factor
        cells = "".join(f"{n:4d}" for n in bond.translation)
        values = "".join(f"{-share * whole:17.5f}" for share in shares)
        lines.append(f"{number:7d}{first:>10s}{second:>10s}{bond.length:11.5f}{cells}{values} ")
    file.write_text("\n".join(lines) + "\n")


def write_curves(file: Path, kind: str, inputs: LobsterInputs, bonds: list[Interaction]) -> None:
    """Write COHPCAR.lobster, or that of COOP or COBI (`kind`): the average, then every bond, spin after spin."""
    energies = np.linspace(inputs.start, inputs.end, inputs.steps)
    unit, integral = curve(energies)
    strengths = np.array([_strength(inputs, bond) for bond in bonds]) * FACTORS[kind]
    scales = np.concatenate([[strengths.mean()], strengths])
    columns = [energies]
    for share in SPIN_SHARES[inputs.spins]:
        for scale in scales:
            columns += [share * scale * unit, share * scale * integral]
    labels = ["Average"]
    for number, bond in enumerate(bonds, start=1):
        first, second = (f"{inputs.elements[atom]}{atom + 1}" for atom in bond.atoms)
        labels.append(f"No.{number}:{first}->{second}({bond.length:.10f})")
    with file.open("w") as stream:
        stream.write(f"cathodeflow rehearsal, no LOBSTER: {kind}\n")
        stream.write(
            f"{len(labels):6d} {inputs.spins:2d} {inputs.steps:6d} "
            f"{inputs.start:12.5f} {inputs.end:12.5f} {inputs.fermi:12.5f}\n"
        )
        stream.write("\n".join(labels) + "\n")
        np.savetxt(stream, np.stack(columns, axis=1), fmt="%11.5f")


def write_charges(file: Path, inputs: LobsterInputs) -> None:
    """Write CHARGE.lobster: the charges of the electronic model, in both of its columns."""
    from pymatgen.core import Element

    chi = np.array([Element(name).X for name in inputs.elements])
    charges = TRANSFER * (chi.mean() - chi)
    lines = [
        "Atomic charges, e, of the rehearsal's electronic model",
        "atom#  atom   Mulliken    Loewdin",
        "---------------------------------",
    ]
    for number, (element, charge) in enumerate(zip(inputs.elements, charges, strict=True), start=1):
        lines.append(f"{number:5d} {element:>5s} {charge:10.5f} {charge:10.5f}")
    lines += ["---------------------------------", f"      total {charges.sum():10.5f} {charges.sum():10.5f}"]
    file.write_text("\n".join(lines) + "\n")


def _strength(inputs: LobsterInputs, bond: Interaction) -> float:
    return strength(inputs.elements[bond.atoms[0]], inputs.elements[bond.atoms[1]], bond.length)
