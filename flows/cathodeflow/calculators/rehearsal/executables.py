"""The private folder of stand-in programs that only a rehearsal puts on its PATH."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

_ROOM = "cathodeflow.calculators.rehearsal"
PROGRAMS = {
    **dict.fromkeys(("vasp_std", "vasp_gam", "vasp_ncl"), f"{_ROOM}.vasp_std"),
    "lobster": f"{_ROOM}.lobster",
    "bader": f"{_ROOM}.bader",
}
"""All of VASP's names: custodian takes a real vasp_gam from the PATH for a run at Γ if it finds no other."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""One thread each: the matrices are small, and the threads of several runs wait for each other (ten times slower)."""


def private_bin(folder: Path) -> Path:
    """Write the stand-in programs into a folder of one's own.

    Parameters
    ----------
    folder : Path
        Made if absent. Nothing else should be in it.

    Returns
    -------
    Path
        The folder, absolute, to be put before PATH in the environment of a rehearsal's jobs and nowhere else.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    source = str(Path(__file__).parents[3])
    for name, module in PROGRAMS.items():
        script = folder / name
        text = (
            "#!/bin/sh\n# A stand-in of cathodeflow, not the program of this name.\n"
            f"export {' '.join(f'{variable}=1' for variable in THREADS)}\n"
            f"PYTHONPATH={shlex.quote(source)}${{PYTHONPATH:+:$PYTHONPATH}} "
            f'exec {shlex.quote(sys.executable)} -P -m {module} "$@"\n'
        )
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(text)
        partial.chmod(partial.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        partial.replace(script)
    return folder
