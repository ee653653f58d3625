"""Large binary things in GridFS, by the sha256 of their content."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError
from cathodeflow.storage.collections import BLOBS

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

_OTHER_WRITER_LOOKS = 10
_OTHER_WRITER_S = 0.2
_MOST_ATTEMPTS = 5


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
            if not self._is_whole(id_):
                self._files.delete(id_)
                self._files.put(content, _id=id_, filename=filename, metadata=metadata)
        return id_

    def _put_alone(self, content: bytes, id_: str, filename: str, metadata: dict[str, Any]) -> None:
        """Put without a transaction: first all chunks, then the file's document, which alone makes it exist."""
        import time

        import gridfs
        from pymongo.errors import DuplicateKeyError

        seen, looks, begun = -1, 0, 0
        while begun < _MOST_ATTEMPTS:
            if self._is_whole(id_):
                return
            try:
                self._files.put(content, _id=id_, filename=filename, metadata=metadata)
                begun += 1
                continue  # it is whole unless somebody who took us for dead has taken chunks of it away
            except (gridfs.errors.FileExists, DuplicateKeyError):
                there = self._chunks(id_)
            # Somebody else is writing the same bytes, as long as they grow. If they do not, it was killed at it.
            seen, looks = there, (looks + 1 if there == seen else 0)
            if looks < _OTHER_WRITER_LOOKS:
                time.sleep(_OTHER_WRITER_S)
            elif not self._is_whole(id_):
                self._files.delete(id_)
                begun += 1
                looks = 0
        if not self._is_whole(id_):
            raise StoreError(f"The blob {id_} cannot be written: others keep writing it; repeat the command.")

    def _chunks(self, id_: str) -> int:
        return int(self._project.database[f"{BLOBS}.chunks"].count_documents({"files_id": id_}))

    def _is_whole(self, id_: str) -> bool:
        """Whether a blob is there with all its chunks."""
        found = self._project.database[f"{BLOBS}.files"].find_one({"_id": id_}, {"length": 1, "chunkSize": 1})
        return found is not None and self._chunks(id_) == math.ceil(found["length"] / found["chunkSize"])

    def get(self, id_: str) -> bytes:
        """Return the bytes of an id.

        Raises
        ------
        StoreError
            There is no such blob, or its content does not fit its id.
        """
        import gridfs

        damaged = f"The blob {id_} is damaged; restore the store from a copy or make the blob again."
        try:
            content = bytes(self._files.get(id_).read())
        except gridfs.NoFile as error:
            raise StoreError(f"There is no blob {id_} in this project; make it again.") from error
        except gridfs.errors.CorruptGridFile as error:
            raise StoreError(damaged) from error
        if hashlib.sha256(content).hexdigest() != id_:
            raise StoreError(damaged)
        return content

    def exists(self, id_: str) -> bool:
        """Whether there is such a blob."""
        return bool(self._files.exists(id_))
