"""Which project a database belongs to: two folders may name the same one by mistake, and would mix their campaigns.

A project has a name of its own, made with it: a document in its database, and a word in its folder's project file.
Where both say one they must agree. Where one says none (a project of an earlier version, a setting in place of a
project file) it takes the other's. A folder that was copied, project file included, is the same project.
"""

from __future__ import annotations

import socket
import uuid
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.records.document import now
from cathodeflow.storage.collections import CAMPAIGNS, MARKER, MOVED, PROJECT
from cathodeflow.storage.project_file import (
    FILE_NAME,
    forget_project_file,
    read_project_file,
    write_project_file,
)

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

NAME = "project"  # key in the project file


def identity_of(project: Project) -> str | None:
    """Return the name that a project's database has; None for one of an earlier version."""
    found = project.get(PROJECT, PROJECT)
    return None if found is None else str(found["id"])


def check_identity(project: Project) -> None:
    """Refuse a database that belongs to another project than the folder, or that this project has left.

    Raises
    ------
    StoreError
        It does; says whose it is.
    """
    said = read_project_file(project.folder) or {}
    owner = project.get(PROJECT, PROJECT)
    if owner is not None and said.get(NAME) not in {None, owner["id"]}:
        raise _of_another(project, owner)
    _refuse_left(project, said.get("uri"))


def _refuse_left(project: Project, named: str | None) -> None:
    """Refuse a server that the project was moved away from: by another of its folders, or named by an old setting."""
    mark = project.get(MARKER, MARKER)
    if mark is None or mark["state"] != MOVED:
        return
    if named == project.uri and mark["folder"] == str(project.folder):
        return  # a move that was killed just before the folder named the other store
    if named is not None and named != project.uri:
        raise StoreError(
            f"CATHODEFLOW_STORE_URI names the database that {project.folder} was moved away from ({project.uri}): its "
            f"documents are in {named} by now; unset the variable, or name that."
        )
    raise StoreError(
        f"The project was moved away from {project.uri}, to {mark['other']}, by its folder {mark['folder']}: copy "
        f"{FILE_NAME} from there."
    )


def settle_identity(project: Project) -> str:
    """Give a project its name, or let folder and database say what one of them says already. Safe to repeat.

    Parameters
    ----------
    project : Project
        Opened with its folder's own store.

    Returns
    -------
    str
        The name.

    Raises
    ------
    StoreError
        The database belongs to another project, or this one has left it.
    """
    owner = project.get(PROJECT, PROJECT)  # before the folder is read: whoever made both made the folder's first
    if project.address is not None:
        check_identity(project)
    if project.address is None:
        return _given(project, uuid.uuid4().hex if owner is None else str(owner["id"]))
    said = read_project_file(project.folder)
    made = False
    if said is None:
        if owner is not None or project.any_matches(CAMPAIGNS, {}):
            raise _of_another(project, owner)
        made = write_project_file(project.folder, project.address, uuid.uuid4().hex, anew=True)
        said = read_project_file(project.folder) or {}
    name = said.get(NAME) or (uuid.uuid4().hex if owner is None else str(owner["id"]))
    given = _given(project, name)
    if given != name and NAME in said:
        if made:  # another folder was a moment faster
            forget_project_file(project.folder)
        raise _of_another(project, project.get(PROJECT, PROJECT))
    if NAME not in said:
        write_project_file(project.folder, project.address, given, as_it_was=said)
    return given


def join(project: Project) -> str:
    """Make a folder one of the project that a database belongs to: its own was lost, or is on another machine.

    Parameters
    ----------
    project : Project
        The folder, which has no project file, and the database.

    Returns
    -------
    str
        The project's name.

    Raises
    ------
    StoreError
        The database holds no project, or one that was moved away.
    """
    owner = identity_of(project)
    if owner is None and not project.any_matches(CAMPAIGNS, {}):
        raise StoreError(
            f"{project.uri} holds no project in the database {project.database_name!r}: correct the address, or start "
            "one there with `cflow launch`."
        )
    _refuse_left(project, None)
    name = _given(project, owner or uuid.uuid4().hex)
    if not write_project_file(project.folder, project.address, name, anew=True):
        raise StoreError(f"{project.folder} has a {FILE_NAME} already: name another folder.")
    return name


def _given(project: Project, name: str) -> str:
    """Return the name in the database, written if there is none."""
    document = {
        "_id": PROJECT,
        "id": name,
        "folder": str(project.folder),
        "host": socket.gethostname(),
        "created_at": now(),
    }
    if project.get(PROJECT, PROJECT) is None:
        project.insert_missing(PROJECT, [document])
    return identity_of(project) or name


def _of_another(project: Project, owner: dict[str, Any] | None) -> StoreError:
    whose = "another project"
    if owner is not None:
        whose = f"the project that was begun in {owner['folder']} on {owner['host']}"
    return StoreError(
        f"The database {project.database_name!r} of {project.uri} belongs to {whose}, and {project.folder} is not "
        f"that: name a database of its own in the address (mongodb://host/name). If they shall be one project, copy "
        f"{FILE_NAME} from that folder, or say `cflow store join {project.uri} -p {project.folder}`."
    )
