"""Renders the report: one HTML file that needs nothing else."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from cathodeflow.errors import StoreError
from cathodeflow.records.document import SCHEMA_VERSION
from cathodeflow.records.outcomes import Target
from cathodeflow.records.verdict import ValidationRecord, VerdictRecord
from cathodeflow.report import (
    assessment,
    compositions,
    costs,
    electronic,
    electronic_panels,
    encoding,
    panels,
    published,
    rehearsal,
    summary,
    wording,
)
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.figures.funnel import rule_order
from cathodeflow.report.figures.screening_map import outer_voltages
from cathodeflow.report.limits import rule_limits
from cathodeflow.report.treatment import treatment
from cathodeflow.science.energetics.voltage import fullest_first

RANKED_ROWS = 10  # per list, as in S0 Table 1; the others are in the searchable table
LISTED_ATTEMPTS = 200
LISTED_EVENTS = 100


def render_report(contents: ReportContents) -> str:
    """Render the report.

    Parameters
    ----------
    contents : ReportContents
        The records.

    Returns
    -------
    str
        A complete HTML page with plotly.js, styles and data inside; it loads nothing from anywhere.
    """
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        signed=wording.signed,
        integer=wording.integer,
        duration=wording.duration,
        formula=wording.formula,
        rule_title=wording.rule_title,
        reason_title=wording.reason_title,
        margin=compositions.margin_text,
        script_json=encoding.script_json,
        figure_json=encoding.figure_json,
        gallery_json=encoding.gallery_json,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        style=Markup(_template("report.css")),  # noqa: S704 - our own file
        script=Markup(_template("report.js")),  # noqa: S704 - our own file
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - plotly's own file
        **_context(contents),
    )


def write_report(contents: ReportContents, path: Path) -> Path:
    """Render the report into a file, which is complete or not there: a reader never sees half of it.

    Parameters
    ----------
    contents : ReportContents
        The records.
    path : Path
        The file; its folder is made.

    Returns
    -------
    Path
        The file, absolute.

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    page = render_report(contents)
    target = Path(path).absolute()
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(page)
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(f"the report cannot be written to {target}: {error.strerror}; choose another file") from error
    return target


def _template(name: str) -> str:
    return resources.files("cathodeflow.report").joinpath("templates", name).read_text(encoding="utf-8")


def _context(contents: ReportContents) -> dict[str, Any]:
    campaign = contents.campaign
    return {
        "contents": contents,
        "campaign": campaign,
        "host_name": summary.host_name(contents),
        "is_nvpf": contents.host == published.NVPF,
        "elapsed": (campaign.finished_at or contents.made_at) - campaign.started_at,
        "sentences": summary.summary_sentences(contents),
        "tiles": summary.tiles(contents),
        "caveats": assessment.caveats(contents),
        "published": published,
        "surrogates": _surrogate_rows(contents),
        "panels": _panels(contents),
        "electronic": _electronic(contents),
        "treatment": treatment(contents),
        "rehearsal_word": rehearsal.WORD,
        "rehearsal_banner": rehearsal.BANNER,
        "composition_table": _composition_table(contents),
        "definition": _definition_text(campaign.definition),
        "schema_version": SCHEMA_VERSION,
        **_ranking(contents),
        **_validation(contents),
        **_accounts(contents),
    }


def _panels(contents: ReportContents) -> dict[str, Any]:
    made = {
        "funnel": panels.funnel_panel(contents),
        "parity": panels.parity_panels(contents),
        "learning": panels.learning_panels(contents),
        "maps": panels.map_panels(contents),
        "screening": panels.screening_panel(contents),
        "profiles": panels.profile_panels(contents),
        "voltages": panels.voltage_panel(contents),
        "volumes": panels.volume_panel(contents),
        "stages": panels.time_panel(contents),
    }
    return rehearsal.stamp_panels(made) if contents.rehearsed else made


def _electronic(contents: ReportContents) -> dict[str, Any] | None:
    """Lay out the follow-ups; None where the campaign has none, so that its page is the same as ever."""
    structure = electronic.electronic_structure(contents)
    if structure is None:
        return None
    figures = {
        "gaps": electronic_panels.gap_panel(contents, structure),
        "bonding": electronic_panels.bonding_panel(contents, structure),
    }
    galleries = electronic_panels.galleries(contents, structure)
    if contents.rehearsed:
        figures = rehearsal.stamp_panels(figures)
        galleries = {name: rehearsal.stamp_gallery(gallery) for name, gallery in galleries.items()}
    return {
        "structure": structure,
        "panels": figures,
        "galleries": galleries,
        "counts": electronic.branch_counts(structure),
        "absent": electronic.absent_branches(contents, structure),
        "remarks": electronic.remarks(structure),
        "gap_rows": electronic_panels.gap_rows(structure),
        "bonding_rows": electronic_panels.bonding_rows(structure),
        "centre_rows": electronic_panels.centre_rows(structure),
        "charge_rows": electronic_panels.charge_rows(contents, structure),
        "volumetric_files": electronic_panels.volumetric_files(structure),
    }


def _surrogate_rows(contents: ReportContents) -> list[tuple[str, assessment.EnsembleMetrics, Target]]:
    rows = []
    for target, symbol in ((Target.FORMATION_ENERGY, "E_form"), (Target.RELAXATION_ENERGY, "E_relax")):
        metrics = assessment.ensemble_metrics(contents.last_models(target))
        if metrics is not None:
            rows.append((symbol, metrics, target))
    return rows


def _ranking(contents: ReportContents) -> dict[str, Any]:
    low, high = outer_voltages(contents.verdicts)
    noble, other = contents.ranked(noble=True), contents.ranked(noble=False)
    return {
        "lists": [
            ("With a noble metal", noble[:RANKED_ROWS], len(noble)),
            ("Without noble metals", other[:RANKED_ROWS], len(other)),
        ],
        "ranked_by": _ranked_by(low, high),
        "rules": rule_order(contents.verdicts),
        "voltage_names": compositions.voltage_names(contents.verdicts),
        "limits": rule_limits(contents.campaign.definition, compositions.voltage_names(contents.verdicts)),
        "results_of": _results_by_rule,
        "metals": lambda record: _metals(record, contents),
        "holds": {record.composition: record.profile_holds for record in contents.substituted},
        "pristine_composition": contents.pristine.composition if contents.pristine else None,
    }


def _ranked_by(low: str | None, high: str | None) -> str:
    if low == high:
        return "Ranked by the largest E_relax over the levels, smaller is better: with one voltage every score is zero"
    return f"Ranked by the score ({high} \N{MINUS SIGN} {low})/{low}, smaller is better (S0 section 3.4)"


def _results_by_rule(verdict: VerdictRecord) -> dict[str, Any]:
    return {result.rule: result for result in verdict.rules}


def _metals(record: VerdictRecord | ValidationRecord, contents: ReportContents) -> Markup:
    """Write the formula per formula unit where the host's is known."""
    if contents.host != published.NVPF:
        return Markup("")
    metals = wording.per_formula_unit(record.elements, record.counts, published.NVPF_FORMULA_UNITS)
    return published.NVPF_FORMULA.format(metals=wording.formula(metals))


def _composition_table(contents: ReportContents) -> dict[str, Any]:
    return {
        "columns": compositions.composition_columns(contents.verdicts),
        "rows": compositions.composition_rows(contents.verdicts),
        "rules": {rule: wording.rule_title(rule) for rule in rule_order(contents.verdicts)},
    }


def _validation(contents: ReportContents) -> dict[str, Any]:
    pristine = contents.pristine
    records = [*([pristine] if pristine else []), *contents.substituted]
    return {
        "validated": records,
        "validated_voltages": fullest_first({name for r in records for name in r.voltages}),
        "intervals": panels.volume_intervals(contents),
        "volume_levels": wording.sort_levels(level for r in records for level in r.volumes),
    }


def _accounts(contents: ReportContents) -> dict[str, Any]:
    quarantined = contents.quarantined_labels
    return {
        "cost": costs.label_cost(contents),
        "quarantine_reasons": Counter(wording.reason_title(label.reason) for label in quarantined).most_common(),
        "attempt_reasons": Counter(wording.reason_title(attempt.reason) for attempt in contents.attempts).most_common(),
        "attempts": sorted(contents.attempts, key=lambda attempt: attempt.created_at)[-LISTED_ATTEMPTS:],
        "events": sorted(contents.events, key=lambda event: event.created_at)[-LISTED_EVENTS:],
    }


def _definition_text(definition: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(definition), stream)
    return stream.getvalue()
