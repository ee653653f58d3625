"""What the Materials Project sets per element, read from pymatgen's MPRelaxSet."""

from __future__ import annotations

from typing import Any

UNLISTED_MOMENT = 0.6
"""Starting moment of an element that the set does not list, Bohr magnetons (pymatgen's VaspInputSet)."""


def hubbard_u(element: str, anion: str = "O") -> float:
    """Return U of an element's d shell where `anion` is the most electronegative element, eV; 0 where none is set."""
    return float(_incar()["LDAUU"].get(anion, {}).get(element, 0.0))


def magnetic_moment(element: str) -> float:
    """Return the starting moment of an element, Bohr magnetons."""
    return float(_incar()["MAGMOM"].get(element, UNLISTED_MOMENT))


def potcar_symbol(element: str) -> str:
    """Return the POTCAR of an element, such as ``V_pv`` for V."""
    return str(_config()["POTCAR"].get(element, element))


def hubbard_tables(values: dict[str, float]) -> dict[str, Any]:
    """Return LDAUU, LDAUL and LDAUJ of the set with some U values changed.

    Parameters
    ----------
    values : dict of str to float
        U per element, eV, whatever the anion is.

    Returns
    -------
    dict
        Tag to anion to element to value, as pymatgen's input sets take it; and tag to element to value, which they take
        where the most electronegative element is neither O nor F.
    """
    from pymatgen.core import Element

    incar = _incar()
    shell = {element: 3 if Element(element).block == "f" else 2 for element in values}
    none = dict.fromkeys(values, 0)
    changes: dict[str, dict[str, Any]] = {"LDAUU": dict(values), "LDAUL": shell, "LDAUJ": none}
    return {
        tag: {**change, **{anion: {**incar[tag][anion], **change} for anion in incar[tag]}}
        for tag, change in changes.items()
    }


def moment_table(values: dict[str, float]) -> dict[str, float]:
    """Return the set's starting moments with some changed, Bohr magnetons."""
    return {**_incar()["MAGMOM"], **values}


def _incar() -> dict[str, Any]:
    return dict(_config()["INCAR"])


def _config() -> dict[str, Any]:
    from pymatgen.io.vasp.sets import MPRelaxSet

    return dict(MPRelaxSet.CONFIG)
