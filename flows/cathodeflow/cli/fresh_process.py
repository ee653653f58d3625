"""What a fresh process of this Python imports and loads, as a worker's would: asked once, while other checks run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

TIMEOUT_S = 180.0
MODULES, TORCH, POTENTIAL = "modules", "torch", "potential"

_SCRIPT = """
import importlib, json, sys

def tell(name, value):
    print("FOUND " + json.dumps([name, value]), flush=True)

def words(error):
    return type(error).__name__ + ": " + str(error)

wanted = json.loads(sys.argv[1])
failed = {}
for name in wanted["modules"]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = words(error)
tell("modules", failed)
if wanted["torch"]:
    try:
        import torch
        gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
        tell("torch", {"threads": torch.get_num_threads(), "gpu": gpu})
    except BaseException as error:
        tell("torch", {"error": words(error)})
if wanted["potential"]:
    try:
        from chgnet.model import CHGNet
        CHGNet.load(verbose=False, use_device="cpu")
        tell("potential", None)
    except BaseException as error:
        tell("potential", words(error))
"""


class FreshProcess:
    """One process that tries all that is asked, begun at once and waited for when the first answer is wanted.

    Parameters
    ----------
    modules : sequence of str
        To import.
    torch, potential : bool
        Whether to load torch and look for an accelerator, and to load the default potential.
    """

    def __init__(self, modules: Sequence[str] = (), *, torch: bool = False, potential: bool = False) -> None:
        asked = {MODULES: list(modules), TORCH: torch, POTENTIAL: potential}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, json.dumps(asked)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def _answers(self) -> dict[str, Any]:
        try:
            printed, complaints = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            printed, _ = self._process.communicate()
            complaints = f"no answer within {TIMEOUT_S:.0f} s"
        found = [line.removeprefix("FOUND ") for line in printed.splitlines() if line.startswith("FOUND ")]
        last = (complaints.strip().splitlines() or [f"it ended with code {self._process.returncode}"])[-1]
        return {"silence": last} | dict(json.loads(line) for line in found)

    def broken_modules(self) -> dict[str, str]:
        """Return the modules that do not import, each with what Python said."""
        found: dict[str, str] = self._answers.get(MODULES, {"the worker's Python": self._answers["silence"]})
        return found

    def torch(self) -> dict[str, Any]:
        """Return ``threads`` and ``gpu``, or ``error``."""
        found: dict[str, Any] = self._answers.get(TORCH, {"error": self._answers["silence"]})
        return found

    def potential(self) -> str | None:
        """Return why the default potential does not load; None where it does."""
        said: str | None = self._answers.get(POTENTIAL, self._answers["silence"])
        return said
