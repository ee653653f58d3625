"""A gate that jobs wait at: a test holds work by it for as long as it needs, and not by a delay it hopes is enough.

The gate is a file. While it is there, as many may still pass as it has bytes; once it is gone, all pass. Whoever is
killed at any moment leaves it right.
"""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

LONGEST_S = 3600.0
"""Nothing waits longer: a job that a failed test has left behind must end."""


class Gate:
    """A gate at a path.

    Parameters
    ----------
    path : Path
        Of its file; in a folder of the test.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waits = path.with_suffix(".waits")

    def close(self, passes: int = 0) -> None:
        """Let so many more pass, and hold the others."""
        self._waits.unlink(missing_ok=True)
        whole = self.path.with_suffix(".new")
        whole.write_bytes(b"." * passes)
        whole.replace(self.path)

    def open(self) -> None:
        """Let all pass."""
        self.path.unlink(missing_ok=True)

    def somebody_waits(self) -> bool:
        """Whether somebody has come to the closed gate since it was closed, or since `forget_who_waits`."""
        return self._waits.exists()

    def forget_who_waits(self) -> None:
        """Forget who has come; who still waits is seen again at once."""
        self._waits.unlink(missing_ok=True)

    def wait(self) -> None:
        """Return when it may be passed.

        Raises
        ------
        TimeoutError
            It stayed closed for an hour.
        """
        deadline = time.monotonic() + LONGEST_S
        while not self._passed():
            self._waits.touch()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gate {self.path} stayed closed")
            time.sleep(0.05)

    def _passed(self) -> bool:
        try:
            file = self.path.open("r+b")
        except FileNotFoundError:
            return True
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            left = file.seek(0, 2)
            if left:
                file.truncate(left - 1)
            return left > 0
