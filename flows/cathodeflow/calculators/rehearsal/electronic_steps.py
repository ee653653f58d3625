"""How the energy converges within an ionic step, so that EDIFF and NELM mean something."""

from __future__ import annotations

import math

FIRST_CHANGE, RATE = 100.0, 0.1  # eV; each electronic step leaves a tenth of the error


def electronic_energies(energy: float, ediff: float, most: int, least: int, *, first: bool, never: bool) -> list[float]:
    """Return the energies of the electronic steps, eV, the last one `energy` where they converge.

    Parameters
    ----------
    energy : float
        Of the converged density, eV.
    ediff : float
        They have converged when two differ by less, eV.
    most, least : int
        NELM and NELMIN.
    first : bool
        The first ionic step starts further away than the later ones.
    never : bool
        Do not converge: NELM steps, the last one still off.
    """
    start = FIRST_CHANGE if first else FIRST_CHANGE * 1e-3
    needed = max(least, math.ceil(math.log(start / ediff) / math.log(1 / RATE)) + 1)
    if never or needed > most:
        rate = 0.9 if never else RATE
        return [energy + start * 0.1 * rate**number for number in range(max(most, 1))]
    return [energy + start * RATE ** (number + 1) for number in range(needed - 1)] + [energy]
