"""The report's figures with their captions; where the records give nothing to draw, the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from cathodeflow.records.outcomes import Target
from cathodeflow.report import published
from cathodeflow.report.compositions import voltage_names
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.figures.funnel import screening_funnel
from cathodeflow.report.figures.learning_curve import learning_curve
from cathodeflow.report.figures.parity import SYMBOLS, parity
from cathodeflow.report.figures.predicted_voltage import predicted_voltage, voltage_pairs
from cathodeflow.report.figures.property_map import LARGEST_RELAXATION, property_map
from cathodeflow.report.figures.screening_map import outer_voltages, screening_map
from cathodeflow.report.figures.stage_time import stage_spans, stage_time
from cathodeflow.report.figures.training_curve import training_curve
from cathodeflow.report.figures.voltage_profile import common_voltage_range, voltage_profile
from cathodeflow.report.figures.volume_change import volume_change
from cathodeflow.report.limits import rule_limits
from cathodeflow.report.wording import sort_levels, voltage_steps, working_ion

_EQUATION = {Target.FORMATION_ENERGY: "S0 eq. 1", Target.RELAXATION_ENERGY: "S0 eq. 2"}
NO_VERDICTS = "No composition has been screened yet, so there is nothing to map."


@dataclass(frozen=True)
class Panel:
    """A figure, its title and its caption; or, without a figure, the caption says why there is none."""

    anchor: str
    title: str
    caption: str
    figure: go.Figure | None = None


def funnel_panel(contents: ReportContents) -> Panel:
    """Show how many compositions each rule leaves."""
    if not contents.verdicts:
        return Panel("funnel", "Screening funnel", "No composition has been screened yet, so there is no funnel.")
    caption = (
        "Compositions left after each rule, applied in this order, with the number it took out in brackets; "
        "bar lengths are square roots of the counts (rules: S0 section 3.4)."
    )
    limits = rule_limits(contents.campaign.definition, voltage_names(contents.verdicts))
    return Panel(
        "funnel", "Screening funnel", caption, screening_funnel(contents.verdicts, contents.validations, limits)
    )


def parity_panels(contents: ReportContents) -> list[Panel]:
    """Show computed against predicted for both targets, before and after retraining."""
    panels = []
    for target in Target:
        symbol, models = SYMBOLS[target], contents.last_models(target)
        if not any(model.parity for model in models):
            caption = f"No network has been trained for {symbol} yet, so there is no parity plot."
            panels.append(Panel(f"parity-{target}", f"{symbol}: computed and predicted", caption))
            continue
        for retrained in (False, True):
            when = "after retraining" if retrained else "before retraining"
            caption = (
                f"{symbol} of the labels as computed and as predicted {when}; held-out labels are diamonds, and stand "
                f"only for members that did not train on them ({_EQUATION[target]}; compare S0 Fig. 2)."
            )
            if target == Target.RELAXATION_ENERGY and not retrained:
                caption += " Before retraining it is the published network's difference of two predicted E_form."
            figure = parity(models, retrained=retrained)
            panels.append(
                Panel(f"parity-{target}-{'after' if retrained else 'before'}", f"{symbol} {when}", caption, figure)
            )
    return panels


def learning_panels(contents: ReportContents) -> list[Panel]:
    """Show errors by round and losses by epoch."""
    if not contents.models:
        return [Panel("learning", "Learning curve", "No network has been trained yet, so there is no learning curve.")]
    by_round = (
        "on the held-out fifth against the number of labels trained on, one point per round; small markers are the "
        "members of the ensemble (E_form: S0 eq. 1, E_relax: S0 eq. 2)."
    )
    panels = [
        Panel(
            "learning-mae", "Error by round", f"Mean absolute error {by_round}", learning_curve(contents.models, "mae")
        ),
        Panel(
            "learning-r2",
            "R² by round",
            f"Coefficient of determination {by_round}",
            learning_curve(contents.models, "r2"),
        ),
    ]
    for target in Target:
        models = [model for model in contents.last_models(target) if model.curve]
        if models:
            caption = (
                f"Loss for {SYMBOLS[target]} of the last round by epoch, each line a member, on the labels trained "
                "on and on the part of the training set that decides when to stop; mean squared error (S0 section 2.2)."
            )
            panels.append(
                Panel(f"epochs-{target}", f"{SYMBOLS[target]}: loss by epoch", caption, training_curve(models))
            )
    return panels


def map_panels(contents: ReportContents) -> list[Panel]:
    """Show every voltage and the relaxation energy over all compositions."""
    if not contents.verdicts:
        return [Panel("map", "Property maps", NO_VERDICTS)]
    names = voltage_names(contents.verdicts)
    panels = [
        Panel(
            f"map-{name}",
            f"{name} (V)",
            f"Predicted {name}, V: energy per transferred charge between two levels (S0 section 3.3, see Fig. 3a, b).",
            property_map(contents.verdicts, name),
        )
        for name in reversed(names)
    ]
    caption = "Predicted E_relax, the largest over the levels, eV/atom (S0 eq. 2, compare Fig. 3b)."
    relaxation = property_map(contents.verdicts, LARGEST_RELAXATION)
    return [*panels, Panel("map-relaxation", "E_relax (eV/atom)", caption, relaxation)]


def screening_panel(contents: ReportContents) -> Panel:
    """Show where in the voltage plane the passed compositions lie."""
    title = "Where the passed compositions lie"
    low, high = outer_voltages(contents.verdicts)
    if not low:
        return Panel("screening-map", title, NO_VERDICTS)
    if low == high:
        return Panel("screening-map", title, f"This host has one voltage, {low}: there is no plane to show.")
    caption = (
        f"Predicted {low} against {high} of every composition, V; dotted lines join equal scores "
        f"({high} \N{MINUS SIGN} {low})/{low}, and a smaller score is better (S0 section 3.4, after Fig. 3c)."
    )
    return Panel("screening-map", title, caption, screening_map(contents.verdicts))


def profile_levels(contents: ReportContents) -> list[str]:
    """Return the working-ion levels of the host, from what was enumerated, labelled or validated."""
    found = [count.level for count in contents.candidate_counts]
    found += [label.level for label in contents.labels]
    found += [level for record in contents.validations for level in (*record.labels, *record.missing)]
    return sort_levels(found)


def profile_panels(contents: ReportContents) -> list[Panel]:
    """Show a voltage profile per validated composition; the first panel alone where there is none."""
    levels = profile_levels(contents)
    records = contents.substituted or [record for record in [contents.pristine] if record is not None]
    drawn = [record for record in records if _has_profile(record.voltages, levels)]
    if not drawn:
        caption = "No composition has been computed at two neighbouring levels yet, so there is no voltage profile."
        return [Panel("profiles", "Voltage profiles", caption)]
    common = common_voltage_range([*drawn, *([contents.pristine] if contents.pristine else [])])
    return [
        Panel(
            f"profile-{index}",
            record.composition + (" (pristine host)" if record.pristine else ""),
            "",
            voltage_profile(record, contents.pristine, levels, common),
        )
        for index, record in enumerate(drawn)
    ]


def _has_profile(voltages: dict[str, float], levels: Sequence[str]) -> bool:
    return bool(voltage_steps(levels, voltages))


def voltage_panel(contents: ReportContents) -> Panel:
    """Show predicted against computed voltages."""
    title = "Predicted against computed voltages"
    if not voltage_pairs(contents.validations):
        return Panel("voltages", title, "No voltage has been both predicted and computed yet.")
    caption = (
        "Voltages of the validated compositions as the surrogate predicted and as the engine computed them, V; "
        "on the dotted line they agree (S0 section 3.3; compare Table 1)."
    )
    return Panel("voltages", title, caption, predicted_voltage(contents.validations))


def volume_intervals(contents: ReportContents) -> list[str]:
    """Return the cycles whose volume change is shown: for NVPF the paper's two, else all there are."""
    found = sorted({name for record in contents.validations for name in record.volume_changes})
    paper = [name for name in found if name in published.VOLUME_CHANGES]
    return paper if contents.host == published.NVPF and paper else found


def volume_panel(contents: ReportContents) -> Panel:
    """Show the volume changes, beside the published ones where the host is the paper's."""
    title = "Volume change on cycling"
    records = [*([contents.pristine] if contents.pristine else []), *contents.substituted]
    if not any(record.volume_changes for record in records):
        return Panel("volumes", title, "No composition has been relaxed at both ends of a cycle yet.")
    ion = working_ion(profile_levels(contents))
    caption = f"Change of the cell volume between two {ion} levels, percent (S0 section 3.5 and Fig. 4a, b)."
    caption += f" Computed by {contents.campaign.provenance}."
    intervals = volume_intervals(contents)
    if contents.host != published.NVPF or contents.rehearsed:  # published values beside stand-ins' would mislead
        return Panel("volumes", title, caption, volume_change(records, intervals, {}, {}))
    caption += " Vertical lines are pristine NVPF: dashed the paper's 2.63 and 5.69 %, dotted the measured 2.85 %."
    figure = volume_change(records, intervals, published.VOLUME_CHANGES, published.MEASURED_VOLUME_CHANGES)
    return Panel("volumes", title, caption, figure)


def time_panel(contents: ReportContents) -> Panel:
    """Show the wall time of each stage."""
    spans = stage_spans(contents.campaign, contents.made_at)
    if not spans:
        return Panel("stages", "Wall time by stage", "No stage has been entered yet.")
    caption = "Wall time of each stage in minutes, from the campaign's record; pauses are included."
    return Panel("stages", "Wall time by stage", caption, stage_time(spans))
