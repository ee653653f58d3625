"""cathodeflow: a campaign manager for discovering battery electrodes.

``cathodeflow.open(folder)`` reads a project from Python: frames of pandas, structures of pymatgen, nothing that writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cathodeflow.campaign.reading import ProjectView

__version__ = "0.1.0"


def open(folder: str | Path = ".", uri: str | None = None) -> ProjectView:  # noqa: A001  cathodeflow.open, as gzip.open
    """Open a project to be read; see `campaign.reading.ProjectView`.

    Parameters
    ----------
    folder : str or Path
        The project folder.
    uri : str, optional
        ``mongodb://`` address of a server to use in place of the store that the folder names.

    Raises
    ------
    StoreError
        There is no store, it cannot be read, or the server cannot be reached.
    """
    from cathodeflow.campaign.reading import open_view

    return open_view(folder, uri)
