"""Large binary things in GridFS, by the sha256 of their content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import BLOBS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

_OTHER_WRITER_LOOKS = 10
_OTHER_WRITER_S = 0.2


class Blobs:
    """The project's blobs.

    Parameters
    ----------
    project : Project
        An open project.
    """

    def __init__(self, project: Project) -> None:
        import gridfs

        self._project = project
        self._files = gridfs.GridFS(project.database, BLOBS)

    def put(self, content: bytes, filename: str = "", **metadata: Any) -> str:
        """Keep some bytes; the same bytes twice are kept once.

        Parameters
        ----------
        content : bytes
            What to keep.
        filename : str
            A name for people.
        **metadata
            Kept beside it.

        Returns
        -------
        str
            Its id: the sha256 of the content, in hexadecimal.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        id_ = hashlib.sha256(content).hexdigest()
        if self._project.file is None:
            self._put_alone(content, id_, filename, metadata)
            return id_
        with self._project.transaction():
            if not self._files.exists(id_):
                self._files.put(content, _id=id_, filename=filename, metadata=metadata)
        return id_

    def _put_alone(self, content: bytes, id_: str, filename: str, metadata: dict[str, Any]) -> None:
        """Put without a transaction: first all chunks, then the file's document, which alone makes it exist."""
        import time

        import gridfs
        from pymongo.errors import DuplicateKeyError

        for attempt in range(_OTHER_WRITER_LOOKS + 1):
            if self._files.exists(id_):
                return
            try:
                self._files.put(content, _id=id_, filename=filename, metadata=metadata)
            except (gridfs.errors.FileExists, DuplicateKeyError):
                # Somebody else is writing the same bytes, or was killed at it: its chunks go after a while.
                if attempt == _OTHER_WRITER_LOOKS - 1:
                    self._files.delete(id_)
                else:
                    time.sleep(_OTHER_WRITER_S)
            else:
                return
        raise StoreError(f"The blob {id_} cannot be written: others keep writing it; repeat the command.")

    def get(self, id_: str) -> bytes:
        """Return the bytes of an id.

        Raises
        ------
        StoreError
            There is no such blob, or its content does not fit its id.
        """
        import gridfs

        try:
            content = bytes(self._files.get(id_).read())
        except gridfs.NoFile as error:
            raise StoreError(f"There is no blob {id_} in this project; make it again.") from error
        if hashlib.sha256(content).hexdigest() != id_:
            raise StoreError(f"The blob {id_} is damaged; restore the store from a copy or make the blob again.")
        return content

    def exists(self, id_: str) -> bool:
        """Whether there is such a blob."""
        return bool(self._files.exists(id_))
