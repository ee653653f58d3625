"""Programs that outlived the worker that started them: a killed worker leaves VASP running in its launch folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

GRACE_S = 5.0


def end_orphans(folder: Path, grace_s: float = GRACE_S) -> int:
    """End the processes of this machine that work in a launch folder whose worker is gone.

    They would write on into files that the next attempt reads, and take its processors.

    Parameters
    ----------
    folder : Path
        Of the launch; processes in folders below it are meant too.
    grace_s : float
        Between SIGTERM and SIGKILL, s.

    Returns
    -------
    int
        How many were ended.
    """
    import psutil

    root = folder.resolve()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is another user's
            place = Path(process.cwd())
            if place == root or root in place.parents:
                process.terminate()
                found.append(process)
    _, alive = psutil.wait_procs(found, timeout=grace_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=grace_s)
    return len(found)
