"""What the numbers are worth: errors of the surrogates, of the predicted voltages, and the engine's known bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from cathodeflow.records.model import Metrics, ModelRecord
from cathodeflow.records.outcomes import Target
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.figures.predicted_voltage import voltage_pairs
from cathodeflow.report.published import NVPF
from cathodeflow.report.wording import counted, number, sort_levels, working_ion
from cathodeflow.science.energetics.voltage import VALENCE
from cathodeflow.science.screening.criteria import PAPER_WINDOWS

CHGNET_ON_NVPF = (
    "CHGNet puts the voltages of pristine NVPF in the right order but gets their size wrong: 1.98, 2.94 and 3.49 V for "
    "V43, V32 and V21 against about 1.6, 3.7 and 4.2 V in experiment. Its cells are 3 to 5 % too large."
)
CHGNET_ELSEWHERE = "CHGNet's voltages can be off by several tenths of a volt, and its cells are some percent too large."
READ_AS_CHGNET = (
    "Read every voltage and volume here as CHGNet's, and trust comparisons between compositions more than absolute "
    "values."
)
DFT_LIMITS = (
    "The voltage limits of the rules are the paper's, made for DFT voltages: with this engine they cut another part of "
    "the space."
)
FEW_HELD_OUT = 20  # fewer make R² and errors uncertain themselves
TEST_ENGINE = (
    "This engine exists to test the machinery. Its numbers are not physics: draw no conclusion about materials."
)


@dataclass(frozen=True)
class EnsembleMetrics:
    """Means over the members of one ensemble, on the labels each held out."""

    target: Target
    members: int
    n_train: float
    n_held_out: float
    retrained: Metrics
    pretrained: Metrics


def ensemble_metrics(models: Sequence[ModelRecord]) -> EnsembleMetrics | None:
    """Average the recorded metrics of the members of one ensemble; None when there are none."""
    if not models:
        return None
    return EnsembleMetrics(
        target=models[0].target,
        members=len(models),
        n_train=fmean(model.n_train for model in models),
        n_held_out=fmean(model.n_held_out for model in models),
        retrained=_mean([model.metrics for model in models]),
        pretrained=_mean([model.pretrained_metrics for model in models]),
    )


def _mean(metrics: Sequence[Metrics]) -> Metrics:
    known = [m.r2 for m in metrics if m.r2 is not None]
    return Metrics(
        r2=fmean(known) if known else None,
        mae=fmean(m.mae for m in metrics),
        rmse=fmean(m.rmse for m in metrics),
        n=round(fmean(m.n for m in metrics)),
    )


def voltage_error(contents: ReportContents) -> tuple[float, int] | None:
    """Return the mean absolute difference of predicted and computed voltages, V, and over how many steps it is."""
    pairs = voltage_pairs(contents.substituted)
    if not pairs:
        return None
    return fmean(abs(predicted - computed) for _, _, computed, predicted in pairs), len(pairs)


def volts_per_energy(contents: ReportContents) -> float | None:
    """Return by how much a voltage moves per eV/atom of error in one formation energy, V/(eV/atom).

    A voltage is an energy difference per transferred charge (S0 section 3.3), a formation energy is per atom: the
    factor is the number of atoms in the fuller cell over the charge transferred. The largest over the steps is taken;
    None when the labels do not show two neighbouring levels.
    """
    charge = VALENCE.get(working_ion(label.level for label in contents.labels), 1)
    atoms = {label.level: label.relaxation.n_atoms for label in contents.labels if label.relaxation is not None}
    levels = sort_levels(atoms)
    factors = [
        atoms[upper] / (atoms[upper] - atoms[lower]) / charge
        for lower, upper in pairwise(levels)
        if atoms[upper] > atoms[lower]
    ]
    return max(factors, default=None)


def caveats(contents: ReportContents) -> list[str]:
    """Say in plain sentences what to trust and what not.

    Returns
    -------
    list of str
        Sentences of plain text, most important first.
    """
    found = [_engine(contents.campaign.provenance, contents.host)]
    if contents.verdicts and _has_the_papers_windows(contents):
        found.append(DFT_LIMITS)
    found += _references(contents)
    found += _surrogates(contents)
    found += _validation(contents)
    quarantined = len(contents.quarantined_labels)
    if quarantined:
        found.append(
            f"{counted(quarantined, 'label')} of {len(contents.labels)} "
            f"{'was' if quarantined == 1 else 'were'} quarantined and never trained on; the reasons are listed below."
        )
    if len(contents.last_models(Target.FORMATION_ENERGY)) > 1:
        found.append(
            "The uncertainty beside a ranked composition is how far the members of the ensemble disagree. It does not "
            "contain what all members get wrong alike."
        )
    return found


def _has_the_papers_windows(contents: ReportContents) -> bool:
    """Tell whether voltages of a potential are held against the limits that S0 made for DFT."""
    if not contents.campaign.provenance.startswith("mlff:"):
        return False
    windows = (contents.campaign.definition.get("screening") or {}).get("voltage_windows")
    names = {name for verdict in contents.verdicts for name in verdict.voltages}
    used = PAPER_WINDOWS if windows is None else windows
    return any(name in names and tuple(used[name]) == PAPER_WINDOWS.get(name) for name in used)


def _engine(provenance: str, host: str | None) -> str:
    named = f"All energies come from {provenance}."
    if provenance.startswith("mlff:chgnet"):
        return f"{named} {CHGNET_ON_NVPF if host == NVPF else CHGNET_ELSEWHERE} {READ_AS_CHGNET}"
    if provenance.startswith(("pair", "rehearsal", "test")):
        return f"{named} {TEST_ENGINE}"
    if provenance.startswith("mlff:"):
        return f"{named} It is a machine-learned potential: its error for these compounds has not been measured here."
    return named


def _references(contents: ReportContents) -> list[str]:
    """Name the elements whose lowest phase may be another one than the one taken."""
    incomplete = sorted((one for one in contents.references if one.lost_phases), key=lambda one: one.element)
    if not incomplete:
        return []
    lost = "; ".join(
        f"{one.element} without {', '.join(f'{phase.phase} ({phase.reason})' for phase in one.lost_phases)}"
        for one in incomplete
    )
    sentence = (
        f"Elemental references are the lowest of the phases that could be computed: {lost}. Should a missing phase be "
        "lower still, formation energies with that element are too low by the difference per atom of it."
    )
    return [sentence]


def _surrogates(contents: ReportContents) -> list[str]:
    metrics = ensemble_metrics(contents.last_models(Target.FORMATION_ENERGY))
    if metrics is None:
        return ["No surrogate has been trained yet: nothing here is a prediction."]
    sentence = (
        f"On {counted(round(metrics.n_held_out), 'label')} it never saw, the retrained surrogate has R² "
        f"{number(metrics.retrained.r2, 3)} and a mean absolute error of {number(metrics.retrained.mae, 4)} eV/atom "
        f"for E_form; without retraining R² {number(metrics.pretrained.r2, 3)} and "
        f"{number(metrics.pretrained.mae, 4)} eV/atom."
    )
    factor = volts_per_energy(contents)
    if factor is not None:
        sentence += (
            " One formation energy that is off by that much moves a voltage by "
            f"{number(metrics.retrained.mae * factor, 2)} V ({number(factor, 0)} V per eV/atom); "
            "errors that two levels share cancel."
        )
    found = [sentence]
    if metrics.n_held_out < FEW_HELD_OUT:
        found.append("With so few held-out labels these errors are themselves uncertain.")
    if metrics.retrained.r2 is not None and metrics.retrained.r2 < 0.9:
        found.append("An R² below 0.9 is too low to rank compositions by: label more structures before using the list.")
    return found


def _validation(contents: ReportContents) -> list[str]:
    error = voltage_error(contents)
    if not contents.verdicts:
        return []
    if error is None:
        return ["No predicted voltage has been checked against the engine yet: the ranking is the surrogate's alone."]
    sentence = (
        "For the compositions computed at every level, predicted and computed voltages differ by "
        f"{number(error[0], 2)} V on average ({counted(error[1], 'step')})."
        " Where they differ, believe the computed ones."
    )
    return [sentence]
