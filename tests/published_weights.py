"""The published MEGNet for tests: installed once into the machine's cache, as a user would."""

from __future__ import annotations

import functools

from cathodeflow.calculators.pretrained.loading import load_pretrained
from cathodeflow.calculators.pretrained.megnet_2019 import install_megnet_2019
from cathodeflow.settings import get_settings


@functools.cache
def megnet_2019():
    """Return the network; tests must not change its weights."""
    cache_dir = get_settings().cache_dir
    install_megnet_2019(cache_dir)
    return load_pretrained("megnet-2019", cache_dir)
