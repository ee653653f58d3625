"""What custodian, atomate2 and parsing add to a label: engine ``rehearsal`` against its potential's own relaxation.

Run it as ``python bench/rehearsal_overhead.py`` (about a minute). The potential stays loaded in this process, as in a
worker; the relaxation beside it does the same ionic steps on the same cell, the 72 atoms of NVPF at Na3.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from contextlib import chdir
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CATHODEFLOW_THREADS_PER_WORKER", "1")

from cathodeflow.calculators.engines import engine
from cathodeflow.science.hosts.host import load_packaged_host

FORCE = 0.01
REPEATS = 3


def main() -> None:
    """Print seconds of both, their difference, and the load of the machine."""
    warnings.simplefilter("ignore")
    start = load_packaged_host("nvpf").level("Na3").structure
    rehearsal = engine({"name": "rehearsal", "parameters": {"overrides": {"incar.EDIFFG": -FORCE}}})
    potential = engine({"name": "mlff", "max_force": FORCE})
    potential.relax(start)  # loads the weights
    for number in range(REPEATS + 1):
        began = time.perf_counter()
        alone = potential.relax(start)
        own_s = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder, chdir(Path(folder)):
            began = time.perf_counter()
            label = rehearsal.relax(start)
            label_s = time.perf_counter() - began
        own_s *= (label.steps + 1) / (alone.steps + 1)
        kind = "first, with imports" if number == 0 else "later"
        print(
            f"{kind}: label {label_s:.1f} s, its {label.steps + 1} ionic steps alone {own_s:.1f} s, "
            f"beyond them {label_s - own_s:.1f} s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
