"""Where in a YAML file something stands, for refusals that name the line."""

from __future__ import annotations

from typing import Any

Location = tuple[str | int, ...]


def line_of(tree: Any, location: Location) -> int:
    """Return the line of the deepest part of a location that the file has.

    Parameters
    ----------
    tree : object
        As ruamel.yaml's round-trip loader reads it, with its marks.
    location : tuple of str and int
        Keys and indices from the top.

    Returns
    -------
    int
        From 1.
    """
    line, node = 1, tree
    for part in location:
        marks = getattr(node, "lc", None)
        if marks is None:
            break
        if isinstance(node, dict) and part in node:
            line = marks.key(part)[0] + 1
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            line = marks.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line
