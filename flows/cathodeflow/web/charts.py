"""Small charts as SVG, drawn here: they need no script, and a page with them is a few kilobytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cathodeflow.records.model import Metrics, ModelRecord
from cathodeflow.records.outcomes import Target
from cathodeflow.web.throughput import Bar

WIDTH, HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 34
_FEWEST_SLOTS = 12  # a campaign of three minutes is not three huge blocks
_NAMES = {Target.FORMATION_ENERGY: "E_form", Target.RELAXATION_ENERGY: "E_relax"}


@dataclass(frozen=True)
class _Scale:
    """From a value to a place."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.first + (value - self.low) / span * (self.last - self.first)


def nice_ticks(high: float, count: int = 4) -> list[float]:
    """Return about `count` round values from 0 to just above `high`."""
    if high <= 0 or not math.isfinite(high):
        return [0.0, 1.0]
    raw = high / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw - 1e-12)
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]


def throughput_chart(bars: Sequence[Bar]) -> Markup:
    """Draw ended launches over time: completed ones, failed ones on top of them."""
    if not bars:
        return Markup("")
    ticks = nice_ticks(max([1, *(bar.completed + bar.failed for bar in bars)]))
    slots = max(len(bars), _FEWEST_SLOTS)
    across = _Scale(0, slots, _LEFT, WIDTH - _RIGHT)
    up = _Scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    width = max((WIDTH - _LEFT - _RIGHT) / slots - 1.5, 1.0)
    drawn = [_grid(ticks, up)]
    for number, bar in enumerate(bars):
        x, middle = across(number), up(bar.completed)
        words = f"{_moment(bar)}: {bar.completed} completed, {bar.failed} failed"
        if bar.completed:
            drawn.append(_bar("fill-good", x, middle, width, up(0) - middle, words))
        if bar.failed:
            top = up(bar.completed + bar.failed)
            drawn.append(_bar("fill-bad", x, top, width, middle - top, words))
    last = len(bars) - 1
    drawn.append(_label(across(0), HEIGHT - 12, _moment(bars[0]), "start"))
    # A label is as wide as four of the fewest slots: the others are written where they do not touch.
    if last >= 2 * slots // 3:
        drawn.append(_label(across(last // 2 + 0.5), HEIGHT - 12, _moment(bars[last // 2]), "middle"))
    if last > slots // 3 + 3:
        drawn.append(_label(across(last + 1), HEIGHT - 12, _moment(bars[last]), "end"))
    return _svg("Ended launches over time", drawn)


def learning_chart(models: Sequence[ModelRecord]) -> Markup:
    """Draw the error on held-out labels against the number of labels, one line per target, the means of the members."""
    lines = {target: _means([model for model in models if model.target == target]) for target in Target}
    points = [point for line in lines.values() for point in line]
    if not points:
        return Markup("")
    ticks = nice_ticks(1000 * max(mae for _, mae in points))
    most, least = max(n for n, _ in points), min(n for n, _ in points)
    across = _Scale(least, most if most > least else least + 1, _LEFT + 14, WIDTH - _RIGHT - 20)
    up = _Scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    drawn = [_grid(ticks, up)]
    for number, (target, line) in enumerate(lines.items()):
        places = [(across(n), up(mae * 1000)) for n, mae in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(Markup('<polyline class="line-{}" points="{}"/>').format(number, path))
        for (x, y), (n, mae) in zip(places, line, strict=True):
            words = f"{_NAMES[target]}: {1000 * mae:.2f} meV/atom with {n:.0f} labels"
            drawn.append(
                Markup('<circle class="dot-{}" cx="{}" cy="{}" r="4.5"><title>{}</title></circle>').format(
                    number, f"{x:.1f}", f"{y:.1f}", words
                )
            )
    for n in sorted({n for n, _ in points}):
        drawn.append(_label(across(n), HEIGHT - 18, f"{n:.0f}", "middle"))
    drawn.append(_label((_LEFT + WIDTH) / 2, HEIGHT - 4, "labels trained on", "middle"))
    return _svg("Error on held-out labels", drawn)


def _means(models: Sequence[ModelRecord]) -> list[tuple[float, float]]:
    found = []
    for number in sorted({model.round for model in models}):
        members = [model for model in models if model.round == number]
        metrics: list[Metrics] = [member.metrics for member in members]
        found.append((sum(m.n_train for m in members) / len(members), sum(m.mae for m in metrics) / len(members)))
    return found


def _moment(bar: Bar) -> str:
    return f"{bar.begins:%d %b}" if bar.seconds >= 24 * 3600 else f"{bar.begins:%d %b %H:%M}"


def _grid(ticks: Sequence[float], up: _Scale) -> Markup:
    parts = []
    for tick in ticks:
        y = f"{up(tick):.1f}"
        parts.append(
            Markup('<line class="grid-line" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, WIDTH - _RIGHT, y, y)
        )
        parts.append(_label(_LEFT - 6, up(tick) + 4, f"{tick:g}", "end"))
    return Markup("").join(parts)


def _bar(kind: str, x: float, y: float, width: float, height: float, words: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        kind, f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", f"{max(height, 0.8):.1f}", words
    )


def _label(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", anchor, text)


def _svg(title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, escape(title), Markup("").join(parts)
    )
