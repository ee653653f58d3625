"""Published figures that stand beside the campaign's own, each with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from cathodeflow.records.model import Metrics
from cathodeflow.records.outcomes import Target

NVPF = "nvpf"
NVPF_FORMULA_UNITS = 4  # per cell: eight metal sites, Na_x M2 (PO4)2 F3
NVPF_FORMULA = Markup("Na<sub>x</sub>{metals}(PO<sub>4</sub>)<sub>2</sub>F<sub>3</sub>")

# S0 section 3.5 and Fig. 4: volume expansion of pristine NVPF by DFT, percent; and the experiment it quotes.
VOLUME_CHANGES: Mapping[str, float] = {"Na1-Na3": 2.63, "Na1-Na4": 5.69}
MEASURED_VOLUME_CHANGES: Mapping[str, float] = {"Na1-Na3": 2.85}

# S0 section 3.2: the paper's counts of its space; section 3.4: how many of them pass.
COMPOUNDS = 3480
STRUCTURES = 87_870
ELEMENTS = 30
PASSED = 578

# S0 section 3.3: 1,171 DFT labels; the size of the held-out set is not given beyond its share of 0.2.
RETRAINED: Mapping[Target, Metrics] = {
    Target.FORMATION_ENERGY: Metrics(r2=0.999, mae=0.00984, rmse=float("nan"), n=0),
    Target.RELAXATION_ENERGY: Metrics(r2=0.961, mae=0.0117, rmse=float("nan"), n=0),
}
PRETRAINED: Mapping[Target, Metrics] = {
    Target.FORMATION_ENERGY: Metrics(r2=0.866, mae=0.05563, rmse=float("nan"), n=0),
}

# S0 section 3.5: gaps by HSE06 at the band edges, eV. Fig. 4c, d have more, but the text gives no other numbers.
PRISTINE_GAPS: Mapping[str, tuple[float, float]] = {
    "Na1": (2.12, 3.24),
    "Na2": (2.12, 3.24),
    "Na3": (2.12, 3.24),
    "Na4": (0.63, 0.63),
}
# "About 0.5 eV" and "about 0.2 eV", no level named; site counts of eight.
CANDIDATE_GAPS: tuple[tuple[Mapping[str, int], float], ...] = (({"Mo": 5, "Au": 3}, 0.5), ({"Cu": 2, "Mo": 6}, 0.2))


def gaps_of(counts: Mapping[str, int], levels: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Return the published gap of a decoration of NVPF's eight metal sites, lowest and highest, eV; empty without one.

    Parameters
    ----------
    counts : mapping of str to int
        Element to number of sites.
    levels : iterable of str
        Working-ion levels asked for.
    """
    if counts == {"V": 8}:
        return {level: PRISTINE_GAPS[level] for level in levels if level in PRISTINE_GAPS}
    for sites, gap in CANDIDATE_GAPS:
        if counts == sites:
            return dict.fromkeys(levels, (gap, gap))
    return {}
