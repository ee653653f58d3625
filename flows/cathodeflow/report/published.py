"""Published figures that stand beside the campaign's own, each with its source."""

from __future__ import annotations

from collections.abc import Mapping

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
