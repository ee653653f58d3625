"""What a finished run of VASP says: the relaxation, what custodian changed on the way, and why it is not usable."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.calculators.potentials.relaxation import RelaxedStructure
from cathodeflow.calculators.zipped_files import content_of, existing
from cathodeflow.errors import CalculationError
from cathodeflow.records.calculation import Intervention

if TYPE_CHECKING:
    import numpy as np
    from emmet.core.tasks import TaskDoc
    from pymatgen.core import Structure

WALLTIME = "walltime"
"""Reason of a run that was told to stop before its allocation ended; another attempt goes on from it."""
_WALLTIME_ERROR = "Walltime reached"
FORCE_ROUNDING = 1e-6
"""Forces in vasprun.xml are rounded to 1e-8, eV/Å."""


def interventions(corrections: Iterable[Mapping[str, Any]]) -> tuple[Intervention, ...]:
    """Read custodian's corrections, in the order they were made.

    Parameters
    ----------
    corrections : iterable of mapping
        Of one or more entries of ``custodian.json``, or of emmet's `CustodianDoc.corrections`.

    Returns
    -------
    tuple of Intervention
    """
    found: list[Intervention] = []
    for correction in corrections:
        done = Intervention(
            handler=_class_name(correction.get("handler")),
            errors=[str(error) for error in correction.get("errors") or ()],
            changes=[change for action in correction.get("actions") or () for change in _changes(action)],
        )
        # The walltime handler says at each look again that it has told the run to stop.
        if done.changes or found[-1:] != [done]:
            found.append(done)
    return tuple(found)


def interventions_of(document: TaskDoc) -> tuple[Intervention, ...]:
    """Read what custodian did from a task document."""
    return interventions(correction for entry in document.custodian or [] for correction in entry.corrections or ())


def interventions_in(folder: Path) -> tuple[Intervention, ...]:
    """Read what custodian did in a run's folder; nothing where it left no log, or one that is cut off."""
    try:
        log = json.loads(content_of(existing(folder, "custodian.json")))
    except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error, ValueError):
        return ()
    return interventions(correction for entry in log for correction in entry.get("corrections") or ())


def custodian_folders(folder: Path) -> list[Path]:
    """Return the folders of runs that custodian has watched: a launch folder itself, and those up to two below."""
    logs = (found for depth in ("", "*/", "*/*/") for found in folder.glob(f"{depth}custodian.json*"))
    return sorted({found.parent for found in logs})


def stopped_at_walltime(done: Iterable[Intervention]) -> bool:
    """Say whether the walltime handler ended the run."""
    return any(_WALLTIME_ERROR in intervention.errors for intervention in done)


def require_converged(
    parsed: bool,
    done: Sequence[Intervention],
    folder: Path,
    *,
    largest_force: float = 0.0,
    max_force: float | None = None,
) -> None:
    """Refuse a run that did not converge.

    pymatgen, and emmet and atomate2 with it, take a relaxation for converged when it made fewer ionic steps than NSW.
    One that a STOPCAR ended made fewer, so the forces and custodian's log are asked too.

    Parameters
    ----------
    parsed : bool
        Whether the parsers take it for converged: electrons and, in a relaxation, ions.
    done : sequence of Intervention
        What custodian did.
    folder : Path
        Of the run, for the message.
    largest_force : float
        Residual force on an atom, eV/Å.
    max_force : float, optional
        What the relaxation aims at, eV/Å; None in a static run.

    Raises
    ------
    CalculationError
        With reason `WALLTIME` where the run was told to stop in time, ``not_converged`` else.
    """
    if stopped_at_walltime(done):
        raise CalculationError(
            f"VASP was stopped before the walltime in {folder}: another attempt goes on from its CONTCAR and WAVECAR",
            WALLTIME,
        )
    if parsed and (max_force is None or largest_force <= max_force + FORCE_ROUNDING):
        return
    seen = sorted({error for intervention in done for error in intervention.errors})
    said = f" (custodian met {', '.join(seen)})" if seen else ""
    left = "" if max_force is None else f", largest force {largest_force:.3f} of {max_force:.3f} eV/Å"
    raise CalculationError(
        f"VASP did not converge in {folder}{left}{said}: override incar.NSW, incar.NELM or incar.ALGO", "not_converged"
    )


def require_converged_document(document: TaskDoc, folder: Path) -> None:
    """Refuse the document of a run that did not converge, or that lacks a part; errors as `require_converged`."""
    import numpy as np

    parsed = _parsed(document, folder)
    aim = float(parsed.incar.get("EDIFFG", 0.0))
    relaxes = int(parsed.incar.get("NSW", 0)) > 0 and aim < 0
    require_converged(
        document.state == "successful",
        interventions_of(document),
        folder,
        largest_force=float(np.linalg.norm(parsed.forces, axis=1).max()),
        max_force=-aim if relaxes else None,
    )


@dataclass(frozen=True)
class _Parsed:
    """The parts of a task document that are used here; in emmet's each may be missing."""

    structure: Structure
    energy: float
    forces: np.ndarray
    incar: dict[str, Any]
    step_energies: list[float]


def _parsed(document: TaskDoc, folder: Path) -> _Parsed:
    import numpy as np

    runs: Any = document.calcs_reversed
    output: Any = document.output
    try:
        parsed = _Parsed(
            # Of vasprun.xml, like energy and forces: the document's own is that of CONTCAR, where a last number that
            # was cut off is still a number.
            runs[0].output.ionic_steps[-1].structure,
            float(output.energy),
            np.asarray(output.forces, dtype=np.float64),
            dict(runs[0].input.incar),
            [float(step.e_0_energy) for step in runs[0].output.ionic_steps],
        )
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        raise CalculationError(f"the files of the run in {folder} lack a part: {error}", "broken_output") from error
    if parsed.structure is None or not parsed.step_energies or parsed.forces.shape != (len(parsed.structure), 3):
        raise CalculationError(
            f"the files of the run in {folder} lack the structure, its forces or all ionic steps", "broken_output"
        )
    if not np.isfinite([parsed.energy, *parsed.step_energies, *parsed.forces.flat]).all():
        raise CalculationError(f"the run in {folder} has energies or forces that are no numbers", "non_finite")
    return parsed


def relaxed_structure(document: TaskDoc, start: Structure, *, energy_before: float | None = None) -> RelaxedStructure:
    """Turn a relaxation's document into what every engine gives.

    Parameters
    ----------
    document : TaskDoc
        Of a job of `makers.relax_maker`.
    start : Structure
        The cell as the campaign has it; gives the order of the sites.
    energy_before : float, optional
        Energy of `start`, eV, where this run continued another one; by default that of the first ionic step.

    Returns
    -------
    RelaxedStructure
        Energies without corrections, eV, at zero smearing; sites in the order of `start`.

    Raises
    ------
    CalculationError
        The run did not converge, or relaxed another cell.
    """
    import numpy as np

    from cathodeflow.calculators.vasp.input_sets import written_order

    folder = Path(str(document.dir_name or ".").rpartition(":")[2])
    require_converged_document(document, folder)
    parsed = _parsed(document, folder)
    order = written_order(start)
    final = parsed.structure
    if [site.specie.symbol for site in final] != [start[index].specie.symbol for index in order]:
        raise CalculationError(
            "the relaxed cell holds other atoms than the start: the document is of another run", "broken_output"
        )
    place = np.argsort(order)
    return RelaxedStructure(
        structure=type(start)(final.lattice, [final[i].specie.symbol for i in place], final.frac_coords[place]),
        energy_before=parsed.step_energies[0] if energy_before is None else energy_before,
        energy_after=parsed.energy,
        forces=parsed.forces[place],
        steps=len(parsed.step_energies) - 1,
        converged=True,
        wall_s=_wall_s(document),
    )


def _wall_s(document: TaskDoc) -> float:
    total = (document.run_stats or {}).get("overall")
    return float(total.elapsed_time) if total is not None and total.elapsed_time else 0.0


def _class_name(handler: Any) -> str:
    if isinstance(handler, Mapping):
        return str(handler.get("@class", "unknown"))
    return type(handler).__name__ if handler is not None else "unknown"


def _changes(action: Mapping[str, Any]) -> Iterable[str]:
    """Put one of custodian's actions into words: a dictionary's keys set, or a file copied, created or deleted."""
    target = str(action.get("dict") or action.get("file") or "run")
    for verb, detail in dict(action.get("action") or {}).items():
        if isinstance(detail, Mapping):
            for key, value in detail.items():
                yield f"{target} {key} = {value}" if verb == "_set" else f"{target} {verb.strip('_')} {key} {value}"
        else:
            yield f"{target} {verb.strip('_')} {detail}"
