"""Valence electrons of a POTCAR that is known by its symbol, from the table that pymatgen ships (no licence needed)."""

from __future__ import annotations

import bz2
import json
from functools import cache
from importlib import resources

from cathodeflow.errors import DefinitionError


def valence_electrons(symbol: str, functional: str = "PBE") -> float:
    """Return ZVAL of a POTCAR.

    Parameters
    ----------
    symbol : str
        Such as ``V_pv``.
    functional : str
        pymatgen's name of the POTCAR library.

    Returns
    -------
    float
        Electrons that are not frozen.

    Raises
    ------
    DefinitionError
        pymatgen lists no such POTCAR.
    """
    known = _valences(functional)
    if symbol not in known:
        raise DefinitionError(f"there is no POTCAR {symbol!r} in the library {functional}: correct potcar_symbols")
    return known[symbol]


@cache
def _valences(functional: str) -> dict[str, float]:
    file = resources.files("pymatgen") / "io" / "vasp" / "potcar-summary-stats.json.bz2"
    libraries = json.loads(bz2.decompress(file.read_bytes()))
    if functional not in libraries:
        raise DefinitionError(
            f"there is no POTCAR library {functional!r}: choose one of {', '.join(sorted(libraries))}"
        )
    return {entry["symbol"]: float(entry["ZVAL"]) for titled in libraries[functional].values() for entry in titled}
