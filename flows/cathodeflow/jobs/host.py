"""Hosts inside jobs, built once per worker process."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cathodeflow.records.host import HostSpec

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.science.hosts.host import Host


def host_from(spec: dict[str, Any]) -> Host:
    """Build a host from `HostSpec.model_dump()`, or take it from this process's memory.

    Raises
    ------
    HostError
        The crystals cannot carry a campaign.
    """
    return _host(json.dumps(spec, sort_keys=True))


@lru_cache(maxsize=4)
def _host(text: str) -> Host:
    return HostSpec.model_validate_json(text).build()


def candidate_structure(spec: dict[str, Any], level: str, elements: list[str], mask: int) -> Structure:
    """Return the unrelaxed crystal of a candidate.

    Raises
    ------
    HostError, DefinitionError
        The host has no such level, or the mask no such site.
    """
    from cathodeflow.science.hosts.candidates import decorate

    return decorate(host_from(spec).level(level), elements, mask)
