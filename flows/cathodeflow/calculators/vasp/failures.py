"""Why a run failed, in our words: from custodian's errors and log, the exit status and what the program wrote."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from custodian.custodian import (
    MaxCorrectionsError,
    MaxCorrectionsPerHandlerError,
    MaxCorrectionsPerJobError,
    NonRecoverableError,
    ReturnCodeError,
    ValidationError,
)

from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import Intervention
from cathodeflow.records.outcomes import Reason

TAIL_BYTES = 20_000
STREAMS = ("std_err.txt", "vasp.out")
UNREPAIRED = (NonRecoverableError, MaxCorrectionsError, MaxCorrectionsPerHandlerError, MaxCorrectionsPerJobError)
SIGNAL_STATUS = 128
"""A shell adds the number of the signal to this."""

SAID = (
    (Reason.DISK_FULL, "the disk is full", re.compile(rb"no space left on device|disk quota exceeded", re.IGNORECASE)),
    (
        Reason.OUT_OF_MEMORY,
        "it ran out of memory",
        re.compile(
            rb"exceed memory limit|out of memory|oom[-_ ]kill|insufficient virtual memory|cannot allocate memory",
            re.IGNORECASE,
        ),
    ),
    (Reason.TIMEOUT, "the scheduler ended it at its time limit", re.compile(rb"DUE TO TIME LIMIT")),
    (Reason.PREEMPTED, "the scheduler took its nodes away", re.compile(rb"DUE TO PREEMPTION")),
    (Reason.NODE_FAIL, "a node failed", re.compile(rb"DUE TO NODE FAILURE")),
)
"""What launchers, compilers' run-time libraries and schedulers write on the program's streams."""

REMEDY = {
    Reason.DISK_FULL: "make room on the disk of the launch folders",
    Reason.OUT_OF_MEMORY: "give the job more memory, or override incar.KPAR or incar.NCORE",
    Reason.TIMEOUT: "give the job more time, or set wall_time_s so that it stops in time",
    Reason.NOT_CONVERGED: "override incar.NSW, incar.NELM or incar.ALGO",
    Reason.FROZEN: "look at the file system and the network of its nodes",
    Reason.MISSING_PROGRAM: "load the module that brings it, or name its path in ATOMATE2_VASP_CMD",
    Reason.KILLED: "look at the job's memory and time, and at the scheduler's log",
    Reason.EXIT_CODE: "look at vasp.out and std_err.txt there",
}


def failure(error: Exception, folder: Path, done: Sequence[Intervention]) -> CalculationError:
    """Say why a run failed.

    Parameters
    ----------
    error : Exception
        What custodian, atomate2 or a parser raised.
    folder : Path
        Of the run.
    done : sequence of Intervention
        What custodian did.

    Returns
    -------
    CalculationError
        Its reason is one of `records.outcomes.Reason`.
    """
    reason, words = _judge(error, folder, done)
    seen = sorted({word for intervention in done for word in intervention.errors})
    met = f"; custodian met {', '.join(seen)}" if seen else ""
    remedy = REMEDY.get(reason, "look at the files there, then run it again")
    said = f"{type(error).__name__}: {_one_line(error)}"
    return CalculationError(f"VASP gave nothing usable in {folder}: {words}{met} ({said}): {remedy}", reason.value)


def _judge(error: Exception, folder: Path, done: Sequence[Intervention]) -> tuple[Reason, str]:
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in _causes(error)):
        return Reason.DISK_FULL, "the disk is full"
    written = b"\n".join(_tail(folder / name) for name in STREAMS)
    for reason, words, pattern in SAID:
        if pattern.search(written):
            return reason, words
    if _is_launch(error):
        return Reason.MISSING_PROGRAM, "its program is not there"
    if isinstance(error, UNREPAIRED):
        return _unrepaired(done)
    status = _exit_status(error)
    if status:
        return _ended(status)
    if isinstance(error, ReturnCodeError):
        return Reason.EXIT_CODE, "it ended with an error"
    if isinstance(error, ValidationError):
        return Reason.BROKEN_OUTPUT, "its files are missing or cut off"
    return Reason.BROKEN_OUTPUT, "its files cannot be read"


def _unrepaired(done: Sequence[Intervention]) -> tuple[Reason, str]:
    """Name what custodian met last and could not mend."""
    last = set(done[-1].errors) if done else set()
    handler = done[-1].handler if done else ""
    if "Frozen job" in last:
        return Reason.FROZEN, "it wrote nothing for too long"
    if "Unconverged" in last or handler in ("UnconvergedErrorHandler", "NonConvergingErrorHandler"):
        return Reason.NOT_CONVERGED, "it did not converge in as many attempts as custodian makes"
    if "out_of_memory" in last:
        return Reason.OUT_OF_MEMORY, "it ran out of memory"
    return Reason.CALCULATION_ERROR, "custodian could not mend what it met"


def _ended(status: int) -> tuple[Reason, str]:
    number = -status if status < 0 else status - SIGNAL_STATUS
    if 0 < number < signal.NSIG:
        return Reason.KILLED, f"signal {number} ended it"
    return Reason.EXIT_CODE, f"it ended with exit status {status}"


def _exit_status(error: Exception) -> int:
    """Return the exit status of the program, 0 where it is not known.

    custodian validates the files before it looks at the exit status, and a killed program leaves cut files: only the
    frames of its error still hold the process.
    """
    for cause in _causes(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            for value in list(frame.f_locals.values()):
                if isinstance(value, subprocess.Popen) and value.returncode:
                    return int(value.returncode)
    return 0


def _is_launch(error: Exception) -> bool:
    """Say whether a program could not be started."""
    if not isinstance(error, FileNotFoundError | PermissionError):
        return False
    return any(frame.f_code.co_name == "_execute_child" for frame, _ in traceback.walk_tb(error.__traceback__))


def _causes(error: BaseException) -> Iterator[BaseException]:
    present: BaseException | None = error
    while present is not None:
        yield present
        present = present.__cause__ or present.__context__


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return stream.read()
    except OSError:
        return b""  # a stream that was never opened says nothing


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
