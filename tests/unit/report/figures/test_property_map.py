"""Every composition has its cell in the map."""

from __future__ import annotations

import pytest
from tests.unit.report import factories

from cathodeflow.report.figures.property_map import element_order, map_grid, property_map

FOUR = ("Mo", "V", "Cu", "Fe")


@pytest.mark.parametrize("elements", [("V",), FOUR, factories.D_BLOCK])
def test_each_binary_is_shown_twice_and_each_pure_compound_in_its_block(elements: tuple[str, ...]) -> None:
    verdicts = factories.verdicts(elements)
    grid = map_grid(verdicts)
    shown: dict[str, int] = {}
    for row in grid.cells:
        for cell in row:
            if cell is not None:
                shown[cell.composition] = shown.get(cell.composition, 0) + 1
    rows = len(grid.ratios)
    assert shown == {verdict.composition: 2 if len(verdict.elements) == 2 else rows for verdict in verdicts}


def test_a_cell_holds_the_row_element_in_the_stated_count() -> None:
    grid = map_grid(factories.verdicts(FOUR))
    for row, cells in zip(grid.rows, grid.cells, strict=True):
        for column, cell in zip(grid.elements, cells, strict=True):
            if row is None:
                assert cell is None
            elif column != row[0]:
                assert cell is not None
                assert dict(zip(cell.elements, cell.counts, strict=True)) == {row[0]: row[1], column: 8 - row[1]}


def test_elements_are_in_the_order_of_the_periodic_table() -> None:
    assert element_order(factories.verdicts(FOUR)) == ["V", "Fe", "Cu", "Mo"]


def test_compositions_that_were_not_searched_leave_their_cells_empty() -> None:
    verdicts = [v for v in factories.verdicts(FOUR) if len(v.elements) == 1 or 2 in v.counts]
    figure = property_map(verdicts, "V21")
    filled = sum(value is not None for row in figure.data[0].z for value in row)
    grid = map_grid(verdicts)
    assert grid.ratios == [2, 6]
    assert filled == 2 * 12 + 2 * 4


def test_one_outlier_does_not_take_all_the_colours() -> None:
    first, *others = factories.verdicts(factories.D_BLOCK)
    outlier = first.model_copy(update={"voltages": first.voltages | {"V21": 90.0}})
    heatmap = property_map([outlier, *others], "V21").data[0]
    assert heatmap.zmax < 10


def test_the_quantity_and_its_unit_are_in_the_hover() -> None:
    verdicts = factories.verdicts(FOUR)
    assert "V32 %{z:.3f} V" in property_map(verdicts, "V32").data[0].hovertemplate
    assert "eV/atom" in property_map(verdicts, "E_relax").data[0].hovertemplate
