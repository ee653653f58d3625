"""Launching: everything is checked before the first document is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cathodeflow.campaign import transitions
from cathodeflow.campaign.definition import changed_keys
from cathodeflow.errors import CampaignError
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.document import software_versions

if TYPE_CHECKING:
    from cathodeflow.campaign.definition_file import DefinitionFile
    from cathodeflow.science.hosts.host import Host
    from cathodeflow.storage.connection import Project


def prepare(loaded: DefinitionFile, host: Host) -> CampaignRecord:
    """Return the campaign's first document; nothing is written.

    Parameters
    ----------
    loaded : DefinitionFile
        The definition.
    host : Host
        Its host, as `load_host` built and checked it.

    Raises
    ------
    DefinitionError
        An engine or model that does not exist.
    """
    from cathodeflow.calculators.engines import provenance
    from cathodeflow.records.host import HostSpec

    definition = loaded.definition
    return CampaignRecord(
        id=definition.name,
        definition=definition.model_dump(mode="json"),
        definition_sha256=definition.sha256(),
        host=HostSpec.of(host, definition.host.packaged),
        provenance=provenance(definition.engine.model_dump()),
        software=software_versions(),
    )


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
