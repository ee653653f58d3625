"""Which of custodian's handlers watch a run of VASP, by what the run is for.

Handlers count what they did and keep it from job to job, so every job gets new ones. Import this module lazily.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from custodian.custodian import ErrorHandler, Validator
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    IncorrectSmearingHandler,
    LargeSigmaHandler,
    MeshSymmetryErrorHandler,
    NonConvergingErrorHandler,
    PositiveEnergyErrorHandler,
    PotimErrorHandler,
    StdErrHandler,
    UnconvergedErrorHandler,
    WalltimeHandler,
)
from custodian.vasp.handlers import VaspErrorHandler as CustodianVaspErrorHandler
from custodian.vasp.interpreter import VaspModder
from custodian.vasp.utils import is_valid_poscar
from custodian.vasp.validators import VaspAECCARValidator, VaspFilesValidator, VasprunXMLValidator
from pymatgen.io.vasp.inputs import VaspInput

from cathodeflow.calculators.environment import environment

Profile = Literal["relax", "static", "hse", "high_energy"]

FROZEN_S = 6 * 3600
"""A run without output for so long is dead, s (atomate2's limit)."""
FROZEN_HSE_S = 24 * 3600
"""The same for hybrid runs, whose electronic steps are slow, s."""
HIGH_ENERGY_POTIM_EV = 5.0
"""Rise of the energy in one ionic step that a start far from equilibrium is allowed, eV/atom (custodian's own: 1)."""
BUFFER_S = 300
"""The least time before the limit at which a run is told to stop, s."""


BUFFER_SHARE = 5
"""Of a limit so short that `BUFFER_S` would leave little of it, this part at the end is the buffer."""
LOOKS_PER_CHECK = 30
"""How many of custodian's looks lie between two checks of a running program, at most."""


def buffer_of(wall_time_s: int) -> int:
    """Return the least time before a limit at which a run is told to stop, s."""
    return min(BUFFER_S, max(1, wall_time_s // BUFFER_SHARE))


@contextmanager
def own_walltime() -> Iterator[None]:
    """Let the limit of a run count from its own start; custodian counts from the first handler of the process."""
    with environment({"CUSTODIAN_WALLTIME_START": None}):
        yield


def watching(wall_time_s: int | None, polling_s: float) -> tuple[int, dict[str, Any]]:
    """Return how a run is watched, so that three checks at least fall into its buffer.

    Parameters
    ----------
    wall_time_s : int or None
        Limit of the run, s; None where nothing ends it.
    polling_s : float
        Longest interval at which custodian may look whether the run has ended, s.

    Returns
    -------
    int
        Least time before the limit at which the run is told to stop, s.
    dict
        custodian's own arguments.
    """
    buffer = BUFFER_S if wall_time_s is None else buffer_of(wall_time_s)
    looks = max(1, min(LOOKS_PER_CHECK, int(buffer / 3 / polling_s)))
    return buffer, {"polling_time_step": min(polling_s, max(buffer / 3, 0.5)), "monitor_freq": looks}


class VaspErrorHandler(CustodianVaspErrorHandler):
    """custodian's handler, which also mends EDDDAV where it comes before the first electronic step.

    custodian's raises TypeError there: it compares the processors with the number of electrons, which OUTCAR does not
    tell yet. All but that comparison (it doubles NCORE for small cells) is done here as there.
    """

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Mend what was met, as custodian's does."""
        try:
            done: dict[str, Any] = super().correct(directory)  # type: ignore[no-untyped-call]
        except TypeError:
            if self.errors != {"edddav"}:
                raise
            return self._mend_edddav(directory)
        return done

    def _mend_edddav(self, directory: str) -> dict[str, Any]:
        inputs = VaspInput.from_directory(directory)
        actions: list[dict[str, Any]] = []
        if is_valid_poscar("CONTCAR", directory):
            actions.append({"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}})
        if inputs["INCAR"].get("ICHARG", 0) < 10:
            actions.append({"file": "CHGCAR", "action": {"_file_delete": {"mode": "actual"}}})
        if str(inputs["INCAR"].get("ALGO", "Normal")).lower() != "all":
            actions.append({"dict": "INCAR", "action": {"_set": {"ALGO": "All", "ISEARCH": 1}}})
        VaspModder(vi=inputs, directory=directory).apply_actions(actions)
        return {"errors": ["edddav"], "actions": actions}


def fresh_handlers(
    profile: Profile, *, wall_time_s: int | None = None, buffer_s: int = BUFFER_S, frozen_s: int | None = None
) -> tuple[ErrorHandler, ...]:
    """Make the handlers of one job.

    Parameters
    ----------
    profile : {"relax", "static", "hse", "high_energy"}
        ``high_energy`` is for relaxations that start far from equilibrium, such as a label of a random decoration with
        a large misfit: it bears positive energies and large steps, which the others take for errors.
    wall_time_s : int, optional
        Limit of the allocation, s, counted from the first handler made in this process. Without it nothing stops a run
        before the scheduler does.
    buffer_s : int
        Least time left at which the run is told to stop, s. Relaxations end after their ionic step, the others after
        their electronic step.
    frozen_s : int, optional
        A run without output for so long is dead, s; by default six hours, a day for hybrid runs.

    Returns
    -------
    tuple of ErrorHandler
        New objects at every call. Make them inside the job: the walltime counts from the first one made.
    """
    hybrid = profile == "hse"
    found: list[ErrorHandler] = [
        VaspErrorHandler(),
        MeshSymmetryErrorHandler(),
        UnconvergedErrorHandler(),
        NonConvergingErrorHandler(),
        FrozenJobErrorHandler(timeout=frozen_s or (FROZEN_HSE_S if hybrid else FROZEN_S)),
        StdErrHandler(),
    ]
    if profile in ("relax", "high_energy"):
        limit = HIGH_ENERGY_POTIM_EV if profile == "high_energy" else 1.0
        found += [PotimErrorHandler(dE_threshold=limit), IncorrectSmearingHandler()]
    if profile != "high_energy":
        found.append(PositiveEnergyErrorHandler())
    if not hybrid:
        found.append(LargeSigmaHandler())
    if wall_time_s is not None:
        stops_electronic = profile in ("static", "hse")
        found.append(
            WalltimeHandler(wall_time=wall_time_s, buffer_time=buffer_s, electronic_step_stop=stops_electronic)
        )
    return tuple(found)


def fresh_validators(*, with_core_charge: bool = False) -> tuple[Validator, ...]:
    """Make the validators of one job.

    Parameters
    ----------
    with_core_charge : bool
        Whether AECCAR0 and AECCAR2 must be there and whole (LAECHG, for Bader).

    Returns
    -------
    tuple of Validator
    """
    found: list[Validator] = [VasprunXMLValidator(), VaspFilesValidator()]
    if with_core_charge:
        found.append(VaspAECCARValidator())
    return tuple(found)
