"""Volume change on cycling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.science.energetics.volume_change import volume_change_percent, volume_changes
from cathodeflow.science.hosts.host import load_packaged_host

volumes = st.floats(10, 5000)


@given(volumes, volumes, st.integers(1, 8))
def test_a_supercell_changes_by_the_same_percentage(after: float, before: float, cells: int) -> None:
    assert volume_change_percent(cells * after, cells * before) == pytest.approx(
        volume_change_percent(after, before), abs=1e-9
    )


@given(volumes, st.floats(-30, 30))
def test_a_growth_by_p_percent_is_p(before: float, percent: float) -> None:
    assert volume_change_percent(before * (1 + percent / 100), before) == pytest.approx(percent, abs=1e-9)


def test_the_packaged_cells_expand_as_chgnet_has_it() -> None:
    """3.4 and 6.3 % (CHGNet 0.3.0; S0 computes 2.63 and 5.69 % for the same steps)."""
    changes = volume_changes({level.label: level.structure.volume for level in load_packaged_host("nvpf").levels})
    assert list(changes) == ["Na1-Na2", "Na1-Na3", "Na1-Na4"]
    assert changes["Na1-Na3"] == pytest.approx(3.4, abs=0.06)
    assert changes["Na1-Na4"] == pytest.approx(6.3, abs=0.06)


def test_one_level_alone_does_not_change() -> None:
    assert volume_changes({"Na3": 900.0}) == {}
