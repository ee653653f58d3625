"""Step profiles of the validated compositions against the pristine host (S0 Fig. 3f)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from cathodeflow.records.verdict import ValidationRecord
from cathodeflow.report.figures.appearance import BLUE, GREY, ORANGE, new_figure
from cathodeflow.report.wording import voltage_steps, working_ion


def step_line(levels: Sequence[str], voltages: Mapping[str, float]) -> tuple[list[float | None], list[float | None]]:
    """Return the corners of a step profile, contents and voltages; a missing plateau leaves a gap."""
    x: list[float | None] = []
    y: list[float | None] = []
    for lower, upper, voltage in voltage_steps(levels, voltages):
        if x and x[-1] != lower:
            x.append(None)
            y.append(None)
        x += [lower, upper]
        y += [round(voltage, 4), round(voltage, 4)]
    return x, y


def voltage_profile(
    record: ValidationRecord,
    pristine: ValidationRecord | None,
    levels: Sequence[str],
    voltage_range: tuple[float, float],
) -> go.Figure:
    """Draw one composition's computed and predicted profile beside the pristine host's, V.

    Parameters
    ----------
    record : ValidationRecord
        The composition.
    pristine : ValidationRecord or None
        The host.
    levels : sequence of str
        Working-ion levels of the host.
    voltage_range : tuple of float
        Ends of the voltage axis, the same for all compositions so that they can be compared.

    Returns
    -------
    plotly Figure
    """
    figure = new_figure(height=290)
    lines = [
        ("predicted", record.predicted_voltages, {"color": ORANGE, "width": 2.5, "dash": "dot"}),
        ("computed", record.voltages, {"color": BLUE, "width": 3}),
    ]
    if pristine is not None and not record.pristine:
        lines.insert(0, ("pristine host, computed", pristine.voltages, {"color": GREY, "width": 2, "dash": "dash"}))
    for name, voltages, line in lines:
        x, y = step_line(levels, voltages)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=name,
            line=line,
            hovertemplate=f"{name}: %{{y:.2f}} V at x = %{{x:g}}<extra></extra>",
        )
    figure.update_xaxes(title_text=f"{working_ion(levels)} per formula unit, x", dtick=1, showgrid=False)
    figure.update_yaxes(title_text="Voltage (V)", range=list(voltage_range))
    figure.update_layout(showlegend=False, margin={"l": 52, "r": 12, "t": 8, "b": 46})
    return figure


def common_voltage_range(validations: Sequence[ValidationRecord]) -> tuple[float, float]:
    """Return axis ends that hold every computed and predicted voltage, V."""
    values = [
        v for record in validations for source in (record.voltages, record.predicted_voltages) for v in source.values()
    ]
    if not values:
        return 0.0, 5.0
    pad = 0.08 * (max(values) - min(values) or 1.0)
    return min(values) - pad, max(values) + pad
