"""Whether FireWorks can load jobs here: it marks one that it cannot load as failed while it only refreshes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cathodeflow.errors import MissingDependencyError

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.storage.connection import Project


def require_loadable(project: Project, fw_ids: Sequence[int]) -> None:
    """Refuse work on jobs whose modules are not here. One of each kind is tried: a kind has one recipe.

    Parameters
    ----------
    project : Project
        The open project.
    fw_ids : sequence of int
        The jobs.

    Raises
    ------
    MissingDependencyError
        A module cannot be imported here; nothing was changed.
    """
    from cathodeflow.dispatch.launchpad import project_launchpad
    from cathodeflow.dispatch.rerun import specs_of

    specs = specs_of(project, fw_ids, ("_kind",))
    launchpad = project_launchpad(project)
    for fw_id in {spec.get("_kind"): fw_id for fw_id, spec in specs.items()}.values():
        load(launchpad, fw_id, f"the module of job {fw_id}")


def load(launchpad: ProjectLaunchPad, fw_id: int, module: str = "its module") -> None:
    """Load a job as FireWorks does.

    Parameters
    ----------
    launchpad : ProjectLaunchPad
        Of the project.
    fw_id : int
        The job.
    module : str
        What the refusal calls its module.

    Raises
    ------
    MissingDependencyError
        Its module cannot be imported here.
    """
    try:
        launchpad.get_fw_by_id(fw_id)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} cannot be imported here ({error}): say this again in the environment of its workers"
        ) from error
