"""The file in a project's folder that says where its documents are: never how to get in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cathodeflow.errors import StoreError
from cathodeflow.settings import get_settings
from cathodeflow.storage.address import PASSWORD_VARIABLE, StoreAddress

FILE_NAME = "project.json"
EMBEDDED = "embedded"
MONGODB = "mongodb"


def read_project_file(folder: Path) -> dict[str, Any] | None:
    """Return what the project file says; None when there is none.

    Raises
    ------
    StoreError
        It cannot be read.
    """
    path = folder / FILE_NAME
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        known = isinstance(said, dict) and said.get("store") in {EMBEDDED, MONGODB}
        if not known or (said["store"] == MONGODB and not isinstance(said.get("uri"), str)):
            raise StoreError(
                f"{path} does not say which store the project has; restore it, or write it anew (see the docs)."
            )
        return dict(said)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"The project file {path} cannot be read ({error}); restore it from a copy.") from error


def write_project_file(folder: Path, address: StoreAddress | None) -> None:
    """Say where a project's documents are; the old file is replaced at once or not at all.

    Parameters
    ----------
    folder : Path
        The project folder.
    address : StoreAddress or None
        The server; None for the embedded store.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    said: dict[str, Any] = {"store": EMBEDDED}
    if address is not None:
        said = {"store": MONGODB, "uri": address.uri, "password_variable": PASSWORD_VARIABLE}
        path = address.password_file or get_settings().store_password_file
        if path is not None:
            said["password_file"] = str(path.expanduser().absolute())
    fresh = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(json.dumps(said, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / FILE_NAME)
    except OSError as error:
        raise StoreError(f"The project file {folder / FILE_NAME} cannot be written: {error.strerror}.") from error


def store_of(folder: Path, uri: str | None = None, *, moving: bool = False) -> StoreAddress | None:
    """Return where the documents of a project folder are.

    An address that is given wins; then the project file; then the setting `store_uri`, for folders that have no store.

    Parameters
    ----------
    folder : Path
        The project folder; need not exist.
    uri : str, optional
        Address that is given.
    moving : bool
        The documents are to be moved: the folder alone says where they are, whatever the setting says.

    Returns
    -------
    StoreAddress or None
        None for the embedded store.

    Raises
    ------
    StoreError
        An address cannot be used, or the setting names a server while the documents are in the embedded store, or
        another database than the folder does.
    """
    settings = get_settings()
    if uri is not None:
        return StoreAddress.parse(uri)
    said = read_project_file(folder)
    setting = None if settings.store_uri is None else StoreAddress.parse(settings.store_uri)
    if said is not None and said["store"] == MONGODB:
        file = said.get("password_file")
        remembered = StoreAddress.parse(said["uri"], None if file is None else Path(file))
        if setting is None or moving:
            return remembered
        if setting.database != remembered.database:
            raise StoreError(
                f"CATHODEFLOW_STORE_URI names the database {setting.database!r}, and the documents of {folder} are in "
                f"{remembered.database!r} ({remembered.uri}): unset the variable, or name that database in it."
            )
        return setting  # the same server by another name, as seen from this machine
    embedded = said is not None or (folder / settings.store_file).exists()
    if setting is not None and embedded:
        if moving:
            return None
        raise StoreError(
            f"CATHODEFLOW_STORE_URI names a server, and the documents of {folder} are in the embedded store: "
            f"copy them (`cflow store migrate --to {setting.uri} -p {folder}`), or unset the variable."
        )
    return setting


def is_project(folder: Path) -> bool:
    """Whether a folder holds a project: a project file, or an embedded store."""
    return (folder / FILE_NAME).exists() or (folder / get_settings().store_file).exists()
