"""A claimed job as FireWorks' Rocket sees it, and its end as the server was told it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.storage.outbox import Outbox

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad


def say(message: str) -> None:
    """Write a line to the worker's own log."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Told:
    """The end of a launch as the server was told it."""

    launch_id: int
    fw_id: int
    action: Any
    state: str
    writes: tuple[Callable[[], None], ...]


class ClaimedLaunchPad:
    """The launchpad as Rocket sees it, with the claim already made."""

    def __init__(self, launchpad: ProjectLaunchPad, firework: Any, launch_id: int, box: Outbox | None = None) -> None:
        self._launchpad = launchpad
        self._box = box
        self._claim = firework, launch_id
        self.told: list[Told] = []

    def checkout_fw(self, *_args: Any, **_options: Any) -> tuple[Any, int]:
        """Give what was claimed."""
        return self._claim

    def complete_launch(self, launch_id: int, action: Any = None, state: str = "COMPLETED") -> Any:
        """End the launch, by way of the outbox where there is one."""
        if self._box is None:
            return self._launchpad.complete_launch(launch_id, action, state)
        said, fw_id = {} if action is None else action.to_dict(), self._claim[0].fw_id

        def complete() -> Any:
            if self._launchpad.holds(launch_id, fw_id):
                return self._launchpad.complete_launch(launch_id, action, state)
            # Its number may be another's.
            say(f"the server has forgotten launch {launch_id} of job {fw_id}: it runs again")
            return {}

        done = self._box.end(launch_id, said, state, complete)
        self.told.append(Told(launch_id, fw_id, action, state, self._box.confirmed))
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._launchpad, name)
