"""Launching: everything is checked before the first document is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition import changed_keys
from cathodeflow.campaign.definition_file import substituents
from cathodeflow.campaign.policy import labels_of_round
from cathodeflow.errors import CampaignError, DefinitionError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.document import software_versions

FEWEST_HELD_OUT = 2

if TYPE_CHECKING:
    from cathodeflow.campaign.definition_file import DefinitionFile
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.storage.connection import Project


def prepare(loaded: DefinitionFile, host: Host) -> CampaignRecord:
    """Check all that can be checked without a store, and return the campaign's first document.

    Parameters
    ----------
    loaded : DefinitionFile
        The definition.
    host : Host
        Its host, checked.

    Raises
    ------
    DefinitionError
        An engine, model or element that cannot be used, or fewer candidates than labels.
    """
    from cathodeflow.calculators.engines import provenance
    from cathodeflow.records.host import HostSpec
    from cathodeflow.science.hosts.candidates import count_space

    definition = loaded.definition
    try:
        engine = provenance(definition.engine.model_dump())
    except DefinitionError as error:
        raise loaded.refusal(("engine",), str(error)) from error
    try:
        space = count_space(host, substituents(definition), ratios=definition.ratio_counts())
    except DefinitionError as error:
        raise loaded.refusal(("elements",), str(error)) from error
    if definition.labels.total > space.distinct:
        message = f"{definition.labels.total} labels asked for, but the space has only {space.distinct} candidates"
        raise loaded.refusal(("labels", "total"), message)
    _require_held_out(loaded, len(substituents(definition)) * len(host.levels))
    return CampaignRecord(
        id=definition.name,
        definition=definition.model_dump(mode="json"),
        definition_sha256=definition.sha256(),
        host=HostSpec.of(host, definition.host.packaged),
        provenance=engine,
        software=software_versions(),
    )


def _require_held_out(loaded: DefinitionFile, n_unaries: int) -> None:
    """Refuse a first round of unary labels only: those all train (S0 section 2.2), so that none measures the error."""
    labels = loaded.definition.labels
    first = labels_of_round(labels.total, labels.rounds, 0)
    if first < n_unaries + FEWEST_HELD_OUT:
        message = (
            f"the first of {labels.rounds} rounds labels {first}, but the {n_unaries} unary ones all go into training: "
            f"give at least {labels.rounds * (n_unaries + FEWEST_HELD_OUT)} labels, fewer elements or fewer rounds"
        )
        raise loaded.refusal(("labels", "total"), message)


def launch(project: Project, loaded: DefinitionFile, host: Host) -> CampaignRecord:
    """Write a new campaign into a project's store.

    Parameters
    ----------
    project : Project
        The open project.
    loaded : DefinitionFile
        The definition.
    host : Host
        Its host, checked.

    Returns
    -------
    CampaignRecord
        The campaign, at its first stage; `campaign.driver.drive` runs it.

    Raises
    ------
    CampaignError
        The name is taken; says whether and where the file differs from what was launched.
    DefinitionError
        As `prepare`.
    """
    record = prepare(loaded, host)
    refuse_taken_name(project, record)
    transitions.create_campaign(project, record)
    return record


def refuse_taken_name(project: Project, record: CampaignRecord) -> None:
    """Refuse a name that exists, and say what differs: a launched definition is never changed.

    Raises
    ------
    CampaignError
        The name is taken.
    """
    there = project.database["campaigns"].find_one({"_id": record.id})
    if there is None:
        return
    differences = changed_keys(there["definition"], record.definition)
    if differences:
        raise CampaignError(
            f"campaign {record.id!r} was launched with another definition ({'; '.join(differences)}); "
            "a launched definition is never changed: give the new one another name"
        )
    raise CampaignError(
        f"campaign {record.id!r} was launched already with this very definition: `cflow run` goes on with it"
    )
