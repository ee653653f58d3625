"""What the pages read and write: the open project, with what is kept beside it. It follows a project that is moved.

`cflow store migrate` lets the folder name another store while a dashboard has the old one open. So each request asks
the folder first; where it names another store, that is opened, and the requests from then on have it. A request that
was under way may still read the old store; `Project` itself refuses to write there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import StoreError

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project
    from cathodeflow.web.kept_counts import KeptCounts
    from cathodeflow.web.throughput import Ledger

KEY = "cathodeflow.served"
ASK_AGAIN_S = 5.0
"""A store that could not be opened is left alone for so long: each attempt may take seconds."""

log = logging.getLogger("cathodeflow.dashboard")


@dataclass(frozen=True)
class Served:
    """An open project, and what is kept of it in memory.

    Attributes
    ----------
    project : Project
        Open.
    ledger : Ledger
        Running sums of its launches.
    counts : KeptCounts
        Slow counts.
    """

    project: Project
    ledger: Ledger
    counts: KeptCounts


class Followed:
    """The project of a dashboard, wherever it is moved.

    Parameters
    ----------
    served : Served
        As it is open now.
    serve : callable
        Makes what is kept beside a project that was opened anew.
    """

    def __init__(self, served: Served, serve: Callable[[Project], Served]) -> None:
        self._served = served
        self._serve = serve
        self._lock = threading.Lock()
        self._refused: StoreError | None = None
        self._ask_again_at = 0.0

    def of_request(self, environ: dict[str, Any]) -> Served:
        """Return the same for all of one request.

        Raises
        ------
        StoreError
            The project was moved, and its new store cannot be opened; says why.
        """
        found: Served | None = environ.get(KEY)
        if found is None:
            found = environ[KEY] = self._now()
            found.counts.begin_page()
        return found

    def _now(self) -> Served:
        served = self._served
        if served.project.home is None or served.project.home.elsewhere() is None:
            return served
        with self._lock:
            if self._served is served:
                self._follow(served)
            return self._served

    def _follow(self, served: Served) -> None:
        from cathodeflow.dispatch.launchpad import project_launchpad
        from cathodeflow.storage.connection import open_project

        if self._refused is not None and time.monotonic() < self._ask_again_at:
            raise StoreError(str(self._refused))
        try:
            project = open_project(served.project.folder)
        except StoreError as error:
            sentence = f"The project was moved while the dashboard was open, and it cannot follow: {error}"
            self._refused, self._ask_again_at = StoreError(sentence), time.monotonic() + ASK_AGAIN_S
            raise self._refused from error
        project_launchpad(project)  # its indexes, which the pages count by
        self._refused = None
        self._served = self._serve(project)
        served.ledger.close()
        served.counts.forget()
        log.info("the project was moved: its documents are now in %s", project.uri or "the embedded store")
