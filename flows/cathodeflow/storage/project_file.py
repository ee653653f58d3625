"""The file in a project's folder that says where its documents are: never how to get in."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
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


class Home:
    """The store that a project folder names, watched: it may be moved while a process has it open.

    Parameters
    ----------
    folder : Path
        The project folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = _stamp_of(folder)
        self._named = _named_in(folder)

    def of(self, address: StoreAddress | None, *, given: str | None = None) -> Home | None:
        """Return this for a project that was opened at an address; None where the folder does not say where that is.

        Parameters
        ----------
        address : StoreAddress or None
            Where the documents are; None for the embedded store.
        given : str, optional
            The address that somebody gave in place of the folder's word.
        """
        if given is not None or (self._seen is None and address is not None):
            return self if self._named == (EMBEDDED if address is None else address.uri) else None
        return self

    def elsewhere(self) -> str | None:
        """Return where the folder's documents are by now; None while they are where they were.

        It costs the opening of one small file, which asks a network drive anew: a mere look may be a minute old there.

        Raises
        ------
        StoreError
            The project file cannot be read.
        """
        stamp = _stamp_of(self._folder)
        if stamp is None or stamp == self._seen:
            return None
        named = _named_in(self._folder)
        if named != self._named:
            return named
        self._seen = stamp
        return None

    def refuse_elsewhere(self) -> None:
        """Refuse to write to a store that was left.

        Raises
        ------
        StoreError
            The documents were moved.
        """
        named = self.elsewhere()
        if named is not None:
            raise StoreError(
                f"The documents of {self._folder} were moved to {named} meanwhile: nothing was written to the store "
                "that was left; start this again."
            )


def _stamp_of(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes with the project file; None where there is none."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            found = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"The project file {folder / FILE_NAME} cannot be read ({error.strerror}).") from error
    return found.st_ino, found.st_mtime_ns, found.st_size


def _named_in(folder: Path) -> str:
    said = read_project_file(folder)
    return EMBEDDED if said is None or said["store"] == EMBEDDED else str(said["uri"])


def write_project_file(
    folder: Path,
    address: StoreAddress | None,
    project: str | None = None,
    *,
    as_it_was: Mapping[str, Any] | None = None,
    anew: bool = False,
) -> bool:
    """Say where a project's documents are; the old file is replaced at once or not at all.

    Parameters
    ----------
    folder : Path
        The project folder.
    address : StoreAddress or None
        The server; None for the embedded store.
    project : str, optional
        The project's own name (`storage.identity`).
    as_it_was : mapping, optional
        What the file said, to be kept: only the name is added.
    anew : bool
        Only where there is no file yet.

    Returns
    -------
    bool
        Whether it was written; False where `anew` was asked for and a file is there.

    Raises
    ------
    StoreError
        It cannot be written.
    """
    said: dict[str, Any] = {"store": EMBEDDED}
    if as_it_was is not None:
        said = dict(as_it_was)
    elif address is not None:
        said = {"store": MONGODB, "uri": address.uri, "password_variable": PASSWORD_VARIABLE}
        path = address.password_file or get_settings().store_password_file
        if path is not None:
            said["password_file"] = str(path.expanduser().absolute())
    if project is not None:
        said["project"] = project
    fresh = folder / f".{FILE_NAME}.{os.getpid()}.{threading.get_ident()}"
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(json.dumps(said, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if anew:
            try:
                os.link(fresh, folder / FILE_NAME)
            except FileExistsError:
                return False
            finally:
                fresh.unlink()
        else:
            fresh.replace(folder / FILE_NAME)
        _keep_over_a_power_cut(folder)
    except OSError as error:
        raise StoreError(f"The project file {folder / FILE_NAME} cannot be written: {error.strerror}.") from error
    return True


def _keep_over_a_power_cut(folder: Path) -> None:
    """Have the disk keep a name that was given in a folder: `fsync` of the file keeps the content alone."""
    with suppress(OSError):  # some network drives cannot; the file stands there all the same
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def forget_project_file(folder: Path) -> None:
    """Take the project file away: the folder says nothing."""
    (folder / FILE_NAME).unlink(missing_ok=True)


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
