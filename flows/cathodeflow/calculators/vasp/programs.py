"""Which programs run behind engine ``vasp`` and behind its rehearsal, for jobs that compute electrons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.attempt import Attempt, read_attempt, seconds_for_a_run
from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.calculators.environment import environment
from cathodeflow.errors import DefinitionError

if TYPE_CHECKING:
    from cathodeflow.calculators.rehearsal.engine import Rehearsal

CUSTODIAN_S = 10.0
"""custodian's interval of looking whether a run has ended, s."""


@dataclass(frozen=True)
class Programs:
    """What a job needs to run VASP, LOBSTER or bader.

    Attributes
    ----------
    rehearsal : Rehearsal or None
        The stand-ins; None for the programs themselves.
    polling_s : float
        custodian's interval of looking whether a run has ended, s.
    attempt : Attempt
        Which attempt at the job runs here.
    wall_time_s, frozen_s : int or None
        As `parameters.VaspParameters`.
    cores : int
        Processors of a run.
    """

    rehearsal: Rehearsal | None = None
    polling_s: float = CUSTODIAN_S
    attempt: Attempt = field(default_factory=Attempt)
    wall_time_s: int | None = None
    frozen_s: int | None = None
    cores: int = 1

    @property
    def potcar_spec(self) -> bool:
        """Whether symbols stand for POTCARs, which only a stand-in can run with."""
        return self.rehearsal is not None

    def provenance(self, preset: str) -> str:
        """Return what numbers of a preset are labelled with."""
        return f"vasp:{preset}" if self.rehearsal is None else f"rehearsal:{self.rehearsal.model}:{preset}"

    def seconds_left(self) -> int | None:
        """Return how long a run of the job here may take, s; as `attempt.seconds_for_a_run`."""
        return seconds_for_a_run(self.attempt, Path(), self.wall_time_s)

    @contextmanager
    def available(self) -> Iterator[None]:
        """Have the programs on the path: the real ones are there, stand-ins are put there until the end."""
        with ExitStack() as stack:
            if self.rehearsal is not None:
                from cathodeflow.calculators.rehearsal.engine import stand_ins

                stack.enter_context(stand_ins(Path.cwd(), self.rehearsal))
                stack.enter_context(environment({"ATOMATE2_LOBSTER_CMD": "lobster"}))
            yield


def programs_of(engine: Mapping[str, Any]) -> Programs:
    """Return the programs of a campaign's engine, for the job that runs in the present folder.

    Parameters
    ----------
    engine : mapping
        The section ``engine`` of a definition.

    Raises
    ------
    DefinitionError
        The engine computes no electrons, or has parameters that cannot be used.
    """
    from cathodeflow.calculators.vasp.parameters import read_parameters

    name = str(engine.get("name", ""))
    if name not in PROGRAMS:
        raise DefinitionError(f"follow-ups need electrons: engine vasp or rehearsal, not {name or 'none'}")
    given = engine.get("parameters") or {}
    checked = read_parameters(given)
    real = Programs(
        attempt=read_attempt(),
        wall_time_s=checked.wall_time_s,
        frozen_s=checked.frozen_s,
        cores=checked.cores_now,
    )
    if name == "vasp":
        return real
    from cathodeflow.calculators.rehearsal.engine import FROZEN_S, POLLING_S, read_rehearsal

    rehearsal = read_rehearsal(str(engine.get("model") or "chgnet-0.3.0"), given)
    return replace(real, rehearsal=rehearsal, polling_s=POLLING_S, frozen_s=real.frozen_s or FROZEN_S)
