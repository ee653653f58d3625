"""S0 section 3.2: the size of the space, ours beside the paper's."""

from __future__ import annotations

import collections
import subprocess
import sys

import pytest
from tests.counted_work import calls_of

from cathodeflow.science.hosts.candidates import (
    PAPER_COMPOUNDS,
    PAPER_SENTENCE,
    PAPER_STRUCTURES,
    count_by_ratio,
    count_space,
    enumerate_candidates,
)
from cathodeflow.science.hosts.compositions import D_BLOCK_30, Composition, element_sets
from cathodeflow.science.hosts.host import Host, load_packaged_host
from cathodeflow.science.hosts.symmetry import site_permutations


@pytest.fixture(scope="module")
def nvpf() -> Host:
    return load_packaged_host("nvpf")


def test_thirty_elements_make_465_element_sets() -> None:
    assert len(element_sets(D_BLOCK_30)) == 465


def test_the_papers_counts_are_multiples_of_its_435_pairs() -> None:
    pairs = sum(len(members) == 2 for members in element_sets(D_BLOCK_30))
    assert pairs * 8 == PAPER_COMPOUNDS
    assert pairs * 202 == PAPER_STRUCTURES
    assert "3,480" in PAPER_SENTENCE
    assert "87,870" in PAPER_SENTENCE


@pytest.mark.parametrize(
    ("label", "permutations", "arrangements"), [("Na4", 4, 74), ("Na3", 8, 44), ("Na2", 2, 134), ("Na1", 8, 44)]
)
def test_arrangements_per_pair_of_each_sodium_level(
    nvpf: Host, label: str, permutations: int, arrangements: int
) -> None:
    level = nvpf.level(label)
    rows = site_permutations(level.structure, level.site_indices)
    assert len(rows) == permutations
    assert sum(count_by_ratio(rows).values()) == arrangements


def test_the_whole_space_is_counted_and_enumerated_alike_with_little_work_and_memory(nvpf: Host) -> None:
    counts = count_space(nvpf, D_BLOCK_30)
    assert counts.compositions == 3075
    assert counts.distinct == 128_880
    assert counts.arrangements == 4 * (435 * 254 + 30)
    done = subprocess.run([sys.executable, "-c", WHOLE_SPACE], capture_output=True, text=True, check=True)
    n_keys, peak_kib = done.stdout.split()
    assert int(n_keys) == counts.distinct
    assert int(peak_kib) < 2 * 1024**2
    calls = calls_of(lambda: collections.deque(enumerate_candidates(nvpf, D_BLOCK_30), maxlen=0))
    assert calls < 10 * counts.distinct  # 5 each; bench/enumeration.py tells the seconds, about two


# In a process of its own, so that the memory is the enumeration's; every candidate is kept.
WHOLE_SPACE = """
import resource
from cathodeflow.science.hosts.candidates import enumerate_candidates
from cathodeflow.science.hosts.compositions import D_BLOCK_30
from cathodeflow.science.hosts.host import load_packaged_host
found = {candidate.key: candidate for candidate in enumerate_candidates(load_packaged_host("nvpf"), D_BLOCK_30)}
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_table_1_lists_its_elements_by_atomic_number_as_we_do() -> None:
    """M1 comes before M2 in all twenty rows, and alpha × 4 of eight sites hold M2."""
    for first, second, alpha in [("Cu", "Mo", 1.5), ("Fe", "Au", 0.75), ("Ru", "Ag", 0.25), ("Mn", "Ge", 1.0)]:
        n_second = round(alpha * 4)
        composition = Composition((first, second), (8 - n_second, n_second))
        assert Composition.from_key(composition.key) == composition
