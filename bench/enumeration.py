"""Enumerate arrangements: ours against pymatgen's StructureMatcher on the same crystals, in one run.

Prints the ratio of times and whether the classes agree. Run with `python bench/enumeration.py`.
"""

from __future__ import annotations

import json
import resource
import time
import warnings

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher

from cathodeflow.science.hosts.arrangements import all_masks, canonical_masks
from cathodeflow.science.hosts.candidates import count_space, decorate, enumerate_candidates
from cathodeflow.science.hosts.compositions import D_BLOCK_30
from cathodeflow.science.hosts.host import HostLevel, load_packaged_host
from cathodeflow.science.hosts.symmetry import site_permutations


def against_structure_matcher(level: HostLevel, n_second: int) -> dict[str, object]:
    """Group all arrangements of `n_second` Mo among Cu both ways; ours includes finding the symmetry."""
    n_sites = len(level.site_indices)
    masks = all_masks(n_sites, n_second)
    times = []
    for _ in range(5):  # a few milliseconds each: the median of five
        start = time.perf_counter()
        permutations = site_permutations(level.structure, level.site_indices)
        canonical = canonical_masks(permutations, all_masks(n_sites, n_second))
        representatives = np.unique(canonical)
        times.append(time.perf_counter() - start)
    ours = float(np.median(times))

    crystals = [decorate(level, ("Cu", "Mo"), int(mask)) for mask in masks]
    for crystal, mask in zip(crystals, masks, strict=True):
        crystal.properties["mask"] = int(mask)
    matcher = StructureMatcher(ltol=0.02, stol=0.05, angle_tol=1, primitive_cell=False, scale=False)
    start = time.perf_counter()
    groups = matcher.group_structures(crystals)
    theirs = time.perf_counter() - start

    our_classes = {frozenset(masks[canonical == value].tolist()) for value in representatives}
    their_classes = {frozenset(crystal.properties["mask"] for crystal in group) for group in groups}
    return {
        "level": level.label,
        "n_second": n_second,
        "arrangements": len(masks),
        "classes_ours": len(representatives),
        "classes_structure_matcher": len(groups),
        "same_classes": our_classes == their_classes,
        "ours_s": round(ours, 5),
        "structure_matcher_s": round(theirs, 3),
        "times_faster": round(theirs / ours, 1),
    }


def whole_space() -> dict[str, object]:
    """Enumerate all candidates of the packaged NVPF with thirty elements at four levels."""
    host = load_packaged_host("nvpf")
    start = time.perf_counter()
    n_candidates = sum(1 for _ in enumerate_candidates(host, D_BLOCK_30))
    seconds = time.perf_counter() - start
    counts = count_space(host, D_BLOCK_30)
    return {
        "candidates": n_candidates,
        "arrangements_without_symmetry": counts.arrangements,
        "seconds": round(seconds, 3),
        "peak_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Print one JSON line per measurement."""
    warnings.simplefilter("ignore")
    print(json.dumps({"bench": "enumeration", **whole_space()}))
    host = load_packaged_host("nvpf")
    against_structure_matcher(host.level("Na4"), 1)  # imports and caches are not what is measured
    for label, n_second in (("Na3", 2), ("Na2", 2), ("Na1", 2)):
        print(
            json.dumps({"bench": "enumeration", **against_structure_matcher(host.level(label), n_second)}), flush=True
        )


if __name__ == "__main__":
    main()
