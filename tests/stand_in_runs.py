"""Real directories of finished relaxations: the stand-in for VASP runs on the inputs that a preset writes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import warnings
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from cathodeflow.calculators.environment import environment
from cathodeflow.calculators.rehearsal import vasp_std
from cathodeflow.calculators.rehearsal.potential import VARIABLE as POTENTIAL
from cathodeflow.calculators.vasp.input_sets import input_set
from cathodeflow.calculators.vasp.preset import VaspPreset, load_preset
from cathodeflow.science.hosts.candidates import decorate, parse_candidate_key
from cathodeflow.science.hosts.host import load_packaged_host

QUICK = {"incar.EDIFFG": -0.9, "incar.LCHARG": False, "incar.LWAVE": False, "incar.LORBIT": 0}
"""Overrides with which the pair potential relaxes a cell of LiFePO4 in a second."""


def quick_preset(**changes: Any) -> VaspPreset:
    """S0's relaxation, loose; keys such as ``ENCUT`` are changed further."""
    return load_preset("s0_relax", QUICK | {f"incar.{tag}": value for tag, value in changes.items()})


def unrelaxed(key: str) -> Structure:
    """The candidate of LiFePO4 of that key."""
    parts = parse_candidate_key(key)
    return decorate(load_packaged_host("lifepo4").level(parts.level), parts.composition.elements, parts.mask)


def finish_run(folder: Path, start: Structure, preset: VaspPreset, edit: dict[str, str] | None = None) -> Path:
    """Run the stand-in on a cell; `edit` replaces texts of INCAR."""
    folder.mkdir(parents=True)
    input_set(start, preset, potcar_spec=True).write_input(folder)
    incar = (folder / "INCAR").read_text()
    for old, new in (edit or {}).items():
        assert old in incar
        incar = incar.replace(old, new)
    (folder / "INCAR").write_text(incar)
    before, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
    os.chdir(folder)
    try:
        with environment({POTENTIAL: "pair"}), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            assert vasp_std.main() == 0
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
    return folder
