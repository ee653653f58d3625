"""What custodian, atomate2 and parsing add to a label: engine ``rehearsal`` against its potential's own relaxation.

Run it as ``python bench/rehearsal_overhead.py`` (about a minute). The potential stays loaded in this process, as in a
worker; the relaxation beside it does the same ionic steps on the same cell, the 72 atoms of NVPF at Na3. On a loaded
machine look at the processor time, which counts this process and the programs it started.
"""

from __future__ import annotations

import os
import resource
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


def processor_s() -> float:
    """Return the processor time of this process and of the programs it has waited for, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Print seconds of both, their difference, and the load of the machine."""
    warnings.simplefilter("ignore")
    start = load_packaged_host("nvpf").level("Na3").structure
    rehearsal = engine({"name": "rehearsal", "parameters": {"overrides": {"incar.EDIFFG": -FORCE}}})
    potential = engine({"name": "mlff", "max_force": FORCE})
    potential.relax(start)  # loads the weights
    for number in range(REPEATS + 1):
        began, used = time.perf_counter(), processor_s()
        alone = potential.relax(start)
        own_s, own_processor_s = time.perf_counter() - began, processor_s() - used
        with tempfile.TemporaryDirectory() as folder, chdir(Path(folder)):
            began, used = time.perf_counter(), processor_s()
            label = rehearsal.relax(start)
            label_s, label_processor_s = time.perf_counter() - began, processor_s() - used
        own_s *= (label.steps + 1) / (alone.steps + 1)
        own_processor_s *= (label.steps + 1) / (alone.steps + 1)
        kind = "first, with imports" if number == 0 else "later"
        beyond_s, beyond_processor_s = label_s - own_s, label_processor_s - own_processor_s
        print(
            f"{kind}: label {label_s:.1f} s, its {label.steps + 1} ionic steps alone {own_s:.1f} s, beyond them "
            f"{beyond_s:.1f} s; processor {label_processor_s:.1f} s and {own_processor_s:.1f} s, beyond them "
            f"{beyond_processor_s:.1f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            flush=True,
        )


if __name__ == "__main__":
    main()
