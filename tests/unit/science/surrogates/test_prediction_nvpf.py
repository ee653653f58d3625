"""The real thing: 200 random candidates of NVPF, all four levels, against the plain loop (issue: 1e-5 eV/atom)."""

import numpy as np
from tests.published_weights import megnet_2019

from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.compositions import D_BLOCK_30, atomic_number
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template, spread_masks
from cathodeflow.science.surrogates.prediction import predict_level


def test_two_hundred_random_candidates_get_the_values_of_the_plain_loop():
    rng = np.random.default_rng(11)
    for level in load_packaged_host("nvpf").levels:
        sites = np.array(level.site_indices)
        rows, plain = [], []
        for _ in range(50):
            a, b = (D_BLOCK_30[int(i)] for i in rng.choice(len(D_BLOCK_30), size=2, replace=False))
            mask = int(rng.integers(0, 256))
            rows.append(spread_masks(np.array([mask]), atomic_number(a), atomic_number(b), len(sites))[0])
            plain.append(megnet_2019().predict_structure(decorate(level, (a, b), mask)))
        template = graph_template(level.structure, megnet_2019().config.cutoff)
        base = atomic_numbers(level.structure)
        result = predict_level({"formation_energy": [megnet_2019()]}, template, base, sites, np.array(rows))
        assert np.abs(result.mean["formation_energy"] - np.array(plain)).max() <= 1e-5
