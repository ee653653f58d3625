"""The stand-in ``lobster``: reads what LOBSTER reads, writes its files with the bonds of a stated model.

Run as ``python -m cathodeflow.calculators.rehearsal.lobster`` in a folder of a finished VASP run; `private_bin` makes a
program of it. What it says goes to the standard output and to lobsterout, as with LOBSTER.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    from cathodeflow.calculators.rehearsal.faults import Fault
    from cathodeflow.calculators.rehearsal.lobster_inputs import LobsterInputs

VERSION = "v5.1.1-rehearsal"
"""Whose formats the files have; a record keeps it, and must say what it is."""
CHARGE_SPILLING, TOTAL_SPILLING = 1.0, 2.5  # percent, of each spin
BAD_SPILLING = 12.0  # percent, of the fault charge_spilling


def main() -> int:
    """Run in the current folder and return the exit status: 0 after a complete run, 1 after a refusal."""
    from cathodeflow.calculators.rehearsal.faults import faults_of_run, strike

    folder = Path.cwd()
    started = time.monotonic()
    with (folder / "lobsterout").open("w") as protocol:

        def say(text: str) -> None:
            for stream in (protocol, sys.stdout):  # one file where its output is redirected to lobsterout
                stream.write(text + "\n")
                stream.flush()

        say(f"LOBSTER {VERSION} (cathodeflow rehearsal, no LOBSTER)")
        say(time.strftime("starting on host rehearsal on %Y-%m-%d at %H:%M:%S UTC using 1 threads", time.gmtime()))
        try:
            faults = faults_of_run(folder, "lobster")
            _run(folder, {fault.kind: fault for fault in faults}, say)
        except CalculationError as error:
            say(str(error))
            return 1
        wall = time.monotonic() - started
        unfinished = any(fault.kind == "unfinished" for fault in faults)
        if not unfinished:
            say(f"finished in {_clock(wall)} of wall time")
            say(f"            {_clock(time.process_time())} of user time")
            say(f"            {_clock(0.0)} of sys  time")
    return strike(faults, folder / "ICOHPLIST.lobster", at_end=True)


def _run(folder: Path, faults: dict[str, Fault], say: Callable[[str], None]) -> None:
    from cathodeflow.calculators.rehearsal.faults import strike
    from cathodeflow.calculators.rehearsal.lobster_inputs import orbitals, read_lobster_inputs

    say("detecting used PAW program... VASP")
    inputs = read_lobster_inputs(folder)
    say("initializing PW system...\ninitializing Augmentations...\ninitializing LCAO system...")
    say("setting up local basis functions...")
    for element in dict.fromkeys(inputs.elements):
        names = " ".join(orbital for function in inputs.basis[element] for orbital in orbitals(function))
        say(f" {element} (pbeVaspFit2015) {names} ")
    strike(list(faults.values()), folder / "ICOHPLIST.lobster")
    _write(folder, inputs, "charge_spilling" in faults, say)


def _write(folder: Path, inputs: LobsterInputs, spills: bool, say: Callable[[str], None]) -> None:
    from cathodeflow.calculators.rehearsal.cohp import interactions
    from cathodeflow.calculators.rehearsal.lobster_outputs import write_charges, write_curves, write_list

    bonds = interactions(inputs.cell, inputs.fractional, inputs.elements, inputs.generators)
    say(f"setting up CO interactions... found {len(bonds)} interactions.")
    say("projecting...\ncalculating overlaps...\npost-processing projection...")
    for spin in range(inputs.spins):
        if inputs.spins == 2:
            say(f"spillings for spin channel {spin + 1}")
        if inputs.tells_total:  # as version 5 does; earlier ones always
            say(f"abs. total  spilling: {TOTAL_SPILLING + (BAD_SPILLING if spills else 0):6.2f}%")
        say(f"abs. charge spilling: {BAD_SPILLING if spills else CHARGE_SPILLING:6.2f}%\n")
    say("SKIPPING writing DOSCAR.lobster...")
    for kind in ("COOP", "COHP", "COBI"):
        if kind.lower() in inputs.skipped or not bonds:
            say(f"SKIPPING writing {kind}CAR.lobster...")
            continue
        say(f"writing {kind}CAR.lobster...")
        write_curves(folder / f"{kind}CAR.lobster", kind, inputs, bonds)
        say(f"Writing I{kind}LIST.lobster")
        write_list(folder / f"I{kind}LIST.lobster", kind, inputs, bonds)
    if "populationanalysis" in inputs.skipped:
        say("SKIPPING writing CHARGE.lobster...")
    else:
        say("writing CHARGE.lobster...")
        write_charges(folder / "CHARGE.lobster", inputs)


def _clock(seconds: float) -> str:
    whole, parts = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:d} h {whole % 3600 // 60:2d} min {whole % 60:2d} s {parts:3d} ms"


if __name__ == "__main__":
    sys.exit(main() if int(os.environ.get("SLURM_PROCID", "0")) == 0 else 0)
