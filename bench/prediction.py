"""Predict NVPF candidates: tables against a plain `predict_structure` loop, in one run. Aim: 4 times the loop's rate.

The plain loop is handed structures that exist already, and the faster of two threads and two processes counts.
Run with `python bench/prediction.py` after `cflow model install megnet-2019`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time

import numpy as np
import torch

from cathodeflow.calculators.pretrained.loading import load_pretrained
from cathodeflow.errors import CathodeflowError
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.compositions import D_BLOCK_30, atomic_number
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template, spread_masks
from cathodeflow.science.surrogates.prediction import predict_level
from cathodeflow.settings import get_settings

LEVEL = "Na3"
N_PLAIN = 200
N_TABLES = 2000
AIM = 4.0


def candidates(n: int) -> list[tuple[str, str, int]]:
    """Draw pairs of elements and arrangements."""
    rng = np.random.default_rng(0)
    pairs = [rng.choice(len(D_BLOCK_30), size=2, replace=False) for _ in range(n)]
    return [(D_BLOCK_30[int(a)], D_BLOCK_30[int(b)], int(rng.integers(1, 255))) for a, b in pairs]


def plain(rows: list[tuple[str, str, int]], threads: int) -> tuple[float, list[float]]:
    """Time the loop; returns seconds and values."""
    torch.set_num_threads(threads)
    model = load_pretrained("megnet-2019", get_settings().cache_dir)
    level = load_packaged_host("nvpf").level(LEVEL)
    structures = [decorate(level, (a, b), mask) for a, b, mask in rows]
    model.predict_structure(structures[0])
    start = time.perf_counter()
    values = [model.predict_structure(structure) for structure in structures]
    return time.perf_counter() - start, values


def tables(rows: list[tuple[str, str, int]], threads: int) -> tuple[float, list[float]]:
    """Time `predict_level`, tables included, compilation not; returns seconds and values."""
    model = load_pretrained("megnet-2019", get_settings().cache_dir)
    level = load_packaged_host("nvpf").level(LEVEL)
    template, base = graph_template(level.structure, model.config.cutoff), atomic_numbers(level.structure)
    sites = np.array(level.site_indices)
    spread = [spread_masks(np.array([mask]), atomic_number(a), atomic_number(b), len(sites))[0] for a, b, mask in rows]
    decorations = np.array(spread)
    predict_level({"formation_energy": [model]}, template, base, sites, decorations[:8], threads)
    start = time.perf_counter()
    result = predict_level({"formation_energy": [model]}, template, base, sites, decorations, threads)
    return time.perf_counter() - start, result.mean["formation_energy"].tolist()


def in_two_processes(work: str, rows: list[tuple[str, str, int]]) -> float:
    """Share the rows among two processes of one thread each; returns the seconds of the slower one."""
    function = {"plain": plain, "tables": tables}[work]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        jobs = [pool.apply_async(function, (rows[part::2], 1)) for part in range(2)]
        return max(job.get()[0] for job in jobs)


def main() -> int:
    """Print the figures; the exit code is 1 when the values differ or the aim is missed."""
    rows = candidates(N_TABLES)
    few = rows[:N_PLAIN]
    plain_1, reference = plain(few, 1)
    tables_1, values = tables(rows, 1)
    rate = {
        "plain loop, 1 thread": N_PLAIN / plain_1,
        "plain loop, 2 threads": N_PLAIN / plain(few, 2)[0],
        "plain loop, 2 processes of 1 thread": N_PLAIN / in_two_processes("plain", few),
        "tables, 1 thread": N_TABLES / tables_1,
        "tables, 2 threads": N_TABLES / tables(rows, 2)[0],
        "tables, 2 processes of 1 thread": N_TABLES / in_two_processes("tables", rows),
    }
    best_plain = max(rate["plain loop, 2 threads"], rate["plain loop, 2 processes of 1 thread"])
    best_tables = max(rate["tables, 2 threads"], rate["tables, 2 processes of 1 thread"])
    report = {
        "structures_per_s": {name: round(value, 1) for name, value in rate.items()},
        "ratio_one_core": round(rate["tables, 1 thread"] / rate["plain loop, 1 thread"], 2),
        "ratio_two_cores": round(best_tables / best_plain, 2),
        "aim": AIM,
        "largest_difference_ev_per_atom": float(np.abs(np.array(values[:N_PLAIN]) - np.array(reference)).max()),
    }
    print(json.dumps(report, indent=2))
    good = report["ratio_two_cores"] >= AIM and report["largest_difference_ev_per_atom"] <= 1e-5
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CathodeflowError as error:
        sys.exit(str(error))
