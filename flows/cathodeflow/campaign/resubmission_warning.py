"""What a person should know before failures are run again: which of them would come again all the same."""

from __future__ import annotations

from collections.abc import Sequence

from cathodeflow.campaign.failures import DAMAGED, QUARANTINED, FailedJob
from cathodeflow.records.campaign import CampaignRecord
from cathodeflow.records.outcomes import JobKind, Stage


def warning_of(campaign: CampaignRecord, found: Sequence[FailedJob], chosen: Sequence[FailedJob]) -> str:
    """Return what is to be said of a resubmission; empty where there is nothing.

    Parameters
    ----------
    campaign : CampaignRecord
        As it was read.
    found : sequence of FailedJob
        All that failed.
    chosen : sequence of FailedJob
        What is to be run again.
    """
    return "; ".join(filter(None, (_labels_left(campaign, found, chosen), _unread(found, chosen))))


def _labels_left(campaign: CampaignRecord, found: Sequence[FailedJob], chosen: Sequence[FailedJob]) -> str:
    """Return what is to be said when more labels stay quarantined than the definition tolerates."""
    if campaign.stage != Stage.LABEL or not chosen:
        return ""
    wanted = set(campaign.selections.get(str(campaign.round), ()))
    again = {job.key for job in chosen}
    lost = [job.key for job in found if job.kind == JobKind.LABEL and job.state == QUARANTINED]
    left = sum(key in wanted and key not in again for key in lost)
    tolerated = campaign.definition["failures"]["tolerated_fraction"]
    if left <= tolerated * len(wanted):
        return ""
    return (
        f"{left} of {len(wanted)} labels stay quarantined, and the definition tolerates {tolerated:.0%}: "
        "the campaign stops again unless they are resubmitted too"
    )


def _unread(found: Sequence[FailedJob], chosen: Sequence[FailedJob]) -> str:
    """Return what is to be said when branches run again that may not be able to read their static run."""
    again = {job.key for job in chosen}
    candidates = {key.rpartition("/")[0] for key in again}
    left = [job.key for job in found if job.state == DAMAGED and job.key not in again]
    unread = [key for key in left if key.rpartition("/")[0] in candidates]
    if not unread:
        return ""
    more = f" (and {len(unread) - 1:,} more)" if len(unread) > 1 else ""
    return (
        "branches that could not read files fail again if those are the static run's: then resubmit that one, "
        f"`cflow resubmit --key {unread[0]}`{more}"
    )
