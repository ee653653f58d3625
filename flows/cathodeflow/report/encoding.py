"""Puts data into a page so that nothing in a record can end the script it stands in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

# Inside a JSON string each may be written as an escape; outside of strings JSON has none of them.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script_json(value: Any) -> Markup:
    """Return a value as JSON that is safe inside a script element.

    Raises
    ------
    ValueError
        A number is not finite: JSON has no word for it.
    """
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that is safe inside a script element."""
    return _escaped(figure.to_json() or "{}")


def gallery_json(figures: Mapping[str, Mapping[str, go.Figure | str]]) -> Markup:
    """Return figures by composition and level as JSON that is safe inside a script element.

    A sentence in place of a figure becomes ``{"absent": sentence}``.
    """

    def text(item: go.Figure | str) -> str:
        if isinstance(item, str):
            return json.dumps({"absent": item}, ensure_ascii=False)
        return item.to_json() or "{}"

    def braced(members: Iterable[tuple[str, str]]) -> str:
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{value}" for key, value in members) + "}"

    return _escaped(
        braced(
            (composition, braced((level, text(item)) for level, item in levels.items()))
            for composition, levels in figures.items()
        )
    )


def _escaped(text: str) -> Markup:
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)  # noqa: S704 - JSON without any character that HTML reads
