"""One loaded potential for many runs: the worker keeps it, the stand-ins it starts ask it through a socket.

Loading torch and CHGNet takes longer than relaxing a crystal. A worker that rehearses job after job loads them once,
serves them from a thread while custodian waits, and the stand-ins need neither. Without the service, or on another
machine, each stand-in loads the potential itself; the numbers are the same.
"""

from __future__ import annotations

import atexit
import errno
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.environment import environment
from cathodeflow.errors import CalculationError

if TYPE_CHECKING:
    import numpy as np

VARIABLE = "CATHODEFLOW_REHEARSAL_SERVICE"
"""Socket of the service; set by it for the processes that the worker starts."""
RETRY_S = 0.1
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ECONNABORTED})
"""Errors of a listener that goes on: too many open files, and a caller that went away."""


@contextmanager
def potential_service(name: str) -> Iterator[Path]:
    """Serve a potential to the stand-ins started meanwhile.

    Parameters
    ----------
    name : str
        As in `potential.load_potential`; the environment asks for the same one meanwhile.

    Yields
    ------
    Path
        The socket, in a folder that only this user can enter.

    Raises
    ------
    CalculationError
        There is no such potential.
    """
    from cathodeflow.calculators.rehearsal import potential

    with _serving(name) as socket, environment({VARIABLE: str(socket), potential.VARIABLE: name}):
        yield socket


_kept: dict[tuple[int, str], Path] = {}


def kept_service(name: str) -> Path:
    """Return the socket of a service that lasts as long as this process; started at the first call.

    Parameters
    ----------
    name : str
        As in `potential.load_potential`.

    Returns
    -------
    Path
        For `VARIABLE` in the environment of a run; a forked process gets a service of its own.

    Raises
    ------
    CalculationError
        There is no such potential.
    """
    key = (os.getpid(), name)
    if key not in _kept:
        keeping = ExitStack()
        _kept[key] = keeping.enter_context(_serving(name))
        # Registered now, so that it closes before the temporary folder is taken away.
        atexit.register(_close, keeping, os.getpid())
    return _kept[key]


def _close(keeping: ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # a forked process inherits the handler, not the service
        keeping.close()


@contextmanager
def _serving(name: str) -> Iterator[Path]:
    from cathodeflow.calculators.rehearsal import potential

    calculator = potential.load_local(name)
    with tempfile.TemporaryDirectory(prefix="cathodeflow-") as folder:
        socket = Path(folder) / "potential"
        with Listener(str(socket), family="AF_UNIX") as listener:
            threading.Thread(target=_accept, args=(listener, calculator, threading.Lock()), daemon=True).start()
            try:
                yield socket
            finally:
                with suppress(OSError), Client(str(socket), family="AF_UNIX") as last:
                    last.send(None)


def _accept(listener: Listener, calculator: Any, lock: threading.Lock) -> None:
    while True:
        try:
            connection = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                return  # it was closed
            time.sleep(RETRY_S)
            continue
        try:
            request = connection.recv()
        except (OSError, EOFError):
            connection.close()
            continue  # a stand-in was killed at that moment
        if request is None:
            return
        threading.Thread(target=_serve, args=(connection, request, calculator, lock), daemon=True).start()


def _serve(connection: Connection, request: Any, calculator: Any, lock: threading.Lock) -> None:
    from cathodeflow.calculators.rehearsal.potential import evaluate, magnetic_moments

    with connection, suppress(OSError, EOFError):
        while True:
            kind, crystal = request
            try:
                with lock:
                    reply = (evaluate if kind == "evaluate" else magnetic_moments)(calculator, *crystal)
                connection.send(("done", reply))
            except CalculationError as error:
                connection.send(("error", (str(error), error.reason)))
            request = connection.recv()


class ServedPotential:
    """A potential in another process.

    Parameters
    ----------
    socket : str
        Of the service.
    """

    def __init__(self, socket: str) -> None:
        self.connection = Client(socket, family="AF_UNIX")

    def ask(self, kind: str, numbers: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> Any:
        """Return what the potential says: of ``evaluate`` energy, forces and stress, of ``moments`` a list or None.

        Raises
        ------
        CalculationError
            What the potential raised, or the service is gone.
        """
        try:
            self.connection.send((kind, (numbers, cell, positions)))
            outcome, reply = self.connection.recv()
        except (OSError, EOFError) as error:
            raise CalculationError(f" REHEARSAL: the worker that served the potential is gone: {error}") from error
        if outcome == "error":
            raise CalculationError(*reply)
        return reply
