"""Which project and which campaign a command means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.errors import CampaignError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project


def open_existing(folder: Path, *, moving: bool = False) -> Project:
    """Open the store of a project.

    Parameters
    ----------
    folder : Path
        The project folder.
    moving : bool
        To move it: the store that the folder names, whatever the setting says.

    Raises
    ------
    CampaignError
        The folder holds no project.
    StoreError
        The store cannot be read.
    """
    from cathodeflow.settings import get_settings
    from cathodeflow.storage.connection import open_project
    from cathodeflow.storage.project_file import FILE_NAME, is_project

    store = folder / get_settings().store_file
    if not is_project(folder) and get_settings().store_uri is None:
        raise CampaignError(
            f"no project in {folder.absolute()} (there is no {store.name} and no {FILE_NAME}): "
            "name its folder with --project, or start one with `cflow launch campaign.yaml`"
        )
    return open_project(folder, moving=moving)


def campaign_name(project: Project, asked: str | None) -> str:
    """Return the campaign a command means: the one asked for, or the only one.

    Raises
    ------
    CampaignError
        There is none of that name, none at all, or several and none was named; lists those there are.
    """
    names = project.campaign_names()
    if asked is not None:
        if asked in names:
            return asked
        from cathodeflow.campaign.transitions import unknown_campaign

        raise unknown_campaign(project, asked)
    if not names:
        raise CampaignError(f"no campaign in {project.folder}: launch one with `cflow launch campaign.yaml`")
    if len(names) > 1:
        raise CampaignError(f"{project.folder} holds several campaigns: name one with --campaign ({', '.join(names)})")
    return names[0]


def warn_of_unknown_variables() -> None:
    """Say which variables of the environment look like settings and have no effect."""
    from cathodeflow.cli.output import note
    from cathodeflow.settings import unknown_variables

    for name, meant in unknown_variables().items():
        hint = f" (did you mean {meant}?)" if meant is not None else ""
        note(f"Warning: the environment variable {name} is no setting and has no effect{hint}")
