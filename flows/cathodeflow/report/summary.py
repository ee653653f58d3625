"""The plain-language summary at the head of the report."""

from __future__ import annotations

from dataclasses import dataclass

from cathodeflow.records.outcomes import CampaignState, Outcome, Target
from cathodeflow.report import published
from cathodeflow.report.assessment import ensemble_metrics, voltage_error
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.figures.property_map import element_order
from cathodeflow.report.panels import profile_levels
from cathodeflow.report.wording import counted, integer, number, working_ion

STATE_SENTENCES = {
    CampaignState.DONE: "The campaign is finished.",
    CampaignState.RUNNING: "The campaign is still running: this is how far it has come.",
    CampaignState.PAUSED: "The campaign is paused: this is how far it has come.",
    CampaignState.STOPPED: "The campaign was stopped before its end.",
}


@dataclass(frozen=True)
class Tile:
    """One number at the head of the report, with what it counts."""

    value: str
    caption: str


def summary_sentences(contents: ReportContents) -> list[str]:
    """Say what was searched, how much, and what came out, in paragraphs of plain text."""
    state = STATE_SENTENCES[contents.campaign.state]
    if contents.campaign.message and contents.campaign.state != CampaignState.DONE:
        state += f" The reason given: {contents.campaign.message.rstrip('.')}."
    return [sentence for sentence in (state, _searched(contents), _labelled(contents), _came_out(contents)) if sentence]


def _searched(contents: ReportContents) -> str:
    counts = contents.candidate_counts
    if not counts:
        return "The search space has not been enumerated yet."
    levels = profile_levels(contents)
    elements = searched_elements(contents)
    compositions = max(count.compositions for count in counts)
    within = f" of {counted(len(elements), 'element')} ({', '.join(elements)})" if elements else ""
    return (
        f"Searched: {counted(compositions, 'composition')}{within} on the metal sites of {host_name(contents)}, "
        f"each at {counted(len(levels), 'content')} of {working_ion(levels)} ({', '.join(levels)}): "
        f"{integer(sum(count.distinct for count in counts))} arrangements that the symmetry of the cell tells apart, "
        f"standing for {integer(sum(count.arrangements for count in counts))}."
    )


def searched_elements(contents: ReportContents) -> list[str]:
    """Return the elements that were searched, as the definition names them or as the verdicts show them."""
    listed = contents.campaign.definition.get("elements")
    return list(listed) if isinstance(listed, list) else element_order(contents.verdicts)


def _labelled(contents: ReportContents) -> str:
    labels = contents.training_labels
    if not labels:
        return "No structure has been labelled yet."
    done = sum(label.outcome == Outcome.DONE for label in labels)
    text = f"Labelled: {counted(len(labels), 'structure')} relaxed with {contents.campaign.provenance}"
    text += f", {integer(done)} of them usable" if done < len(labels) else ""
    if done == 0:
        return f"{text}: every label was quarantined, so nothing could be trained; the reasons are below."
    metrics = ensemble_metrics(contents.last_models(Target.FORMATION_ENERGY))
    if metrics is None:
        return f"{text}. No surrogate has been trained yet."
    last = max(model.round for model in contents.models)
    known = sum(label.outcome == Outcome.DONE and label.round <= last for label in labels)
    which = "them" if known == done else f"the first {integer(known)}"
    return f"{text}; the surrogate retrained on {which} predicts the whole space."


def _came_out(contents: ReportContents) -> str:
    verdicts = contents.verdicts
    if not verdicts:
        return ""
    passed = [verdict for verdict in verdicts if verdict.passed]
    if not passed:
        return (
            f"Came out: none of the {counted(len(verdicts), 'composition')} passes every rule. The funnel says which "
            "rule took how many, and the table of all compositions by how much each was missed."
        )
    noble = sum(verdict.noble for verdict in passed)
    text = (
        f"Came out: {integer(len(passed))} of {counted(len(verdicts), 'composition')} "
        f"{'passes' if len(passed) == 1 else 'pass'} every rule, "
        f"{integer(noble)} with a noble metal and {integer(len(passed) - noble)} without."
    )
    substituted = contents.substituted
    if not substituted:
        return f"{text} None of them has been computed by the engine yet."
    judged = [record for record in substituted if record.profile_holds is not None]
    holding = sum(record.profile_holds is True for record in judged)
    was = "was" if len(substituted) == 1 else "were"
    computed = f"{counted(len(substituted), 'composition')} of the shortlist {was} computed by the engine"
    return f"{text} {computed}; for {integer(holding)} of {integer(len(judged))} the predicted profile holds."


def host_name(contents: ReportContents) -> str:
    """Return the host's name as people write it."""
    return contents.host.upper() if contents.host == published.NVPF else contents.host or "the host"


def tiles(contents: ReportContents) -> list[Tile]:
    """Return the numbers at the head; what does not exist yet is left out."""
    found = []
    if contents.candidate_counts:
        found.append(Tile(integer(max(c.compositions for c in contents.candidate_counts)), "compositions searched"))
    if contents.labels:
        done = sum(label.outcome == Outcome.DONE for label in contents.training_labels)
        found.append(Tile(integer(done), "structures labelled to learn from"))
    metrics = ensemble_metrics(contents.last_models(Target.FORMATION_ENERGY))
    if metrics is not None:
        before = number(metrics.pretrained.r2, 3)
        found.append(Tile(number(metrics.retrained.r2, 3), f"R² of E_form on held-out labels (un-retrained {before})"))
        found.append(Tile(f"{number(1000 * metrics.retrained.mae, 1)}", "MAE of E_form on held-out labels, meV/atom"))
    if contents.verdicts:
        found.append(
            Tile(integer(sum(verdict.passed for verdict in contents.verdicts)), "compositions pass every rule")
        )
    judged = [record for record in contents.substituted if record.profile_holds is not None]
    if judged:
        holding = sum(record.profile_holds is True for record in judged)
        found.append(Tile(f"{holding} of {len(judged)}", "validated profiles hold"))
    error = voltage_error(contents)
    if error is not None:
        found.append(Tile(number(error[0], 2), "V between predicted and computed voltages, on average"))
    return found
