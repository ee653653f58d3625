"""The published MEGNet for tests: installed once into the machine's cache, as a user would."""

from __future__ import annotations

import fcntl
import functools

from cathodeflow.calculators.pretrained.loading import load_pretrained
from cathodeflow.calculators.pretrained.megnet_2019 import install_megnet_2019
from cathodeflow.settings import get_settings


@functools.cache
def megnet_2019():
    """Return the network; tests must not change its weights. Of test processes that begin at once, one fetches it."""
    cache_dir = get_settings().cache_dir
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / ".tests-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install_megnet_2019(cache_dir)
    return load_pretrained("megnet-2019", cache_dir)
