"""Representatives and the voltages they give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.counted_work import calls_of

from cathodeflow.errors import DefinitionError
from cathodeflow.science.energetics.voltage import LevelContent, level_contents, voltage_profile
from cathodeflow.science.hosts.candidates import enumerate_candidates, parse_candidate_key
from cathodeflow.science.hosts.compositions import D_BLOCK_30
from cathodeflow.science.hosts.host import load_packaged_host
from cathodeflow.science.screening.properties import TIE, PredictionColumns, represent

LEVELS = tuple(LevelContent(f"Na{x}", 4 * x, 60 + 4 * x) for x in (4, 3, 2, 1))


def columns(rows: list[tuple[str, str, int, float, float]]) -> PredictionColumns:
    level, composition, mask, formation, relaxation = zip(*rows, strict=True)
    return PredictionColumns(level, composition, mask, formation, relaxation)


def test_the_lowest_formation_energy_stands_for_the_composition() -> None:
    (found,) = represent(
        "nvpf",
        LEVELS,
        columns(
            [
                ("Na3", "Cu2Mo6", 0x3F, -2.0, 0.01),
                ("Na3", "Cu2Mo6", 0x5F, -2.1, 0.02),
                ("Na4", "Cu2Mo6", 0xFC, -2.2, 0.03),
            ]
        ),
    )
    assert found.representatives == {"Na4": "nvpf-Na4-Cu2Mo6-fc", "Na3": "nvpf-Na3-Cu2Mo6-5f"}
    assert found.relaxation_energies == {"Na4": 0.03, "Na3": 0.02}
    assert found.voltages == pytest.approx({"V43": (76 * 2.2 - 72 * 2.1) / 4})
    assert (found.elements, found.counts) == (("Cu", "Mo"), (2, 6))


def test_energies_within_the_tie_go_by_the_smallest_mask() -> None:
    rows = [("Na3", "Cu2Mo6", mask, -2.0 + shift, 0.0) for mask, shift in ((0xFC, -TIE / 2), (0x3F, 0.0), (0x5F, 1.0))]
    for shuffled in (rows, rows[::-1]):
        (found,) = represent("nvpf", LEVELS, columns(shuffled))
        assert found.representatives == {"Na3": "nvpf-Na3-Cu2Mo6-3f"}


def test_a_difference_above_the_tie_counts() -> None:
    rows = [("Na3", "Cu2Mo6", 0xFC, -2.0 - 10 * TIE, 0.0), ("Na3", "Cu2Mo6", 0x3F, -2.0, 0.0)]
    (found,) = represent("nvpf", LEVELS, columns(rows))
    assert found.representatives == {"Na3": "nvpf-Na3-Cu2Mo6-fc"}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_representatives_do_not_depend_on_the_order_and_are_those_of_a_plain_search(data: st.DataObject) -> None:
    host = load_packaged_host("nvpf")
    candidates = list(enumerate_candidates(host, ["Cu", "Mo"], ["Na4", "Na3"], ratios=[(2, 6), (6, 2)]))
    n = len(candidates)
    energies = data.draw(st.lists(st.sampled_from([-2.2, -2.1, -2.0]), min_size=n, max_size=n))
    rows = [(c.level, c.composition, c.mask, e, abs(e)) for c, e in zip(candidates, energies, strict=True)]
    order = data.draw(st.permutations(range(len(rows))))
    found = represent("nvpf", LEVELS, columns([rows[i] for i in order]))
    expected: dict[tuple[str, str], tuple[float, int]] = {}
    for level, composition, mask, energy, _ in rows:
        place = (composition, level)
        expected[place] = min(expected.get(place, (np.inf, 0)), (energy, mask))
    for known in found:
        for level, key in known.representatives.items():
            assert parse_candidate_key(key).mask == expected[known.composition, level][1]
        by_level = {level: expected[known.composition, level][0] for level in ("Na4", "Na3")}
        assert known.formation_energies == by_level
        assert known.voltages == pytest.approx({n: float(v) for n, v in voltage_profile(LEVELS, by_level).items()})


def test_predictions_that_are_not_finite_stand_for_nothing() -> None:
    rows = [("Na4", "V8", 0, np.nan, 0.0), ("Na3", "V8", 0, -2.0, 0.0), ("Na2", "V8", 0, -2.0, 0.0)]
    (found,) = represent("nvpf", LEVELS, columns(rows))
    assert list(found.representatives) == ["Na3", "Na2"]
    assert list(found.voltages) == ["V32"]
    (nothing,) = represent("nvpf", LEVELS, columns(rows[:1]))
    assert nothing.representatives == nothing.voltages == {}


def test_the_spread_is_the_largest_among_the_representatives() -> None:
    predictions = PredictionColumns(
        ["Na4", "Na4", "Na3"], ["V4Cr4"] * 3, [0x0F, 0x33, 0x0F], [-2.0, -2.1, -2.0], [0, 0, 0], [0.9, 0.01, 0.02]
    )
    (found,) = represent("nvpf", LEVELS, predictions)
    assert found.spread == 0.02


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DefinitionError, match="length"):
        represent("nvpf", LEVELS, PredictionColumns(["Na3"], ["V8", "V8"], [0], [0.0], [0.0]))
    with pytest.raises(DefinitionError, match="Na9"):
        represent("nvpf", LEVELS, PredictionColumns(["Na9"], ["V8"], [0], [0.0], [0.0]))


def test_the_whole_space_is_represented_with_little_work_for_each_composition() -> None:
    host = load_packaged_host("nvpf")
    candidates = list(enumerate_candidates(host, D_BLOCK_30))
    rng = np.random.default_rng(1)
    predictions = PredictionColumns(
        [c.level for c in candidates],
        [c.composition for c in candidates],
        [c.mask for c in candidates],
        rng.normal(-2.5, 0.05, len(candidates)),
        rng.uniform(0, 0.1, len(candidates)),
    )
    found = represent("nvpf", level_contents(host), predictions)
    assert len(found) == 3075
    calls = calls_of(lambda: represent("nvpf", level_contents(host), predictions))
    assert calls < 100 * len(found)  # 31 each, half a second in all
    assert all(len(known.representatives) == 4 and len(known.voltages) == 3 for known in found)
