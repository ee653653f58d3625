"""Whether this machine's clock agrees with that of the store's server, by which other machines can be judged too."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from cathodeflow.records.document import in_utc

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

TOLERATED_S = 10.0
"""A third of the lease by which one driver of several is known to be alive."""


def clock_ahead_s(project: Project) -> float | None:
    """Return by how much this machine's clock is ahead of the server's, seconds.

    Returns
    -------
    float or None
        At least so much: 0 while the server's time is between question and answer. None for the embedded store, or
        where the server does not say.

    Raises
    ------
    StoreError
        The server does not answer.
    """
    from cathodeflow.storage.server import in_words

    if project.file is not None:
        return None
    began = time.time()
    with in_words(project.address):
        said = project.client.admin.command("isMaster").get("localTime")  # older than `hello`: every server knows it
    answered = time.time()
    if said is None:
        return None
    theirs: float = in_utc(said).timestamp()
    return max(began - theirs, 0.0) - max(theirs - answered, 0.0)


def clock_complaint(project: Project) -> str | None:
    """Return what to say of clocks that differ; None where they agree."""
    ahead = clock_ahead_s(project)
    if ahead is None or abs(ahead) <= TOLERATED_S:
        return None
    which = "ahead of" if ahead > 0 else "behind"
    return (
        f"the clock of {socket.gethostname()} is {abs(ahead):.0f} s {which} that of the store's server: "
        "set both by NTP; leases and claims of other machines are misjudged until then"
    )
