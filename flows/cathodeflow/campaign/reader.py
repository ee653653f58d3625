"""Documents of a project asked for and laid out as frames, each row with its provenance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import frames
from cathodeflow.campaign.query import CAMPAIGN_FIELDS, Question, answer, refusals, refuse_code, refused
from cathodeflow.errors import CampaignError
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    import pandas as pd

    from cathodeflow.storage.connection import Project

Filter = Mapping[str, Any]

# Large parts of documents that no frame shows; not fetched from a server.
_UNSHOWN: Mapping[str, tuple[str, ...]] = {
    names.LABELS: ("relaxation.crystal", "relaxation.forces"),
    names.REFERENCES: ("crystal",),
    names.MODELS: ("curve", "parity"),
    names.FOLLOW_UPS: ("pdos.curves", "pdos.energies", "density_difference.slice"),
    "fireworks": ("spec._tasks",),
}
_WITH_ENERGIES = frozenset(
    {
        names.LABELS,
        names.PREDICTIONS,
        names.VERDICTS,
        names.VALIDATIONS,
        names.FOLLOW_UPS,
        names.MODELS,
        names.REFERENCES,
    }
)


class Reader:
    """What asks a project, for `campaign.reading.ProjectView`.

    Parameters
    ----------
    project : Project
        An open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    @property
    def folder(self) -> Path:
        """The project folder, absolute."""
        return self._project.folder

    def _documents(
        self,
        collection: str,
        campaign: str | None,
        where: Filter | None = None,
        only: Filter | None = None,
        *,
        whole: bool = False,
    ) -> list[dict[str, Any]]:
        """Return documents, by an index alone where one can answer; from a server without their unshown parts."""
        condition = self._condition(collection, campaign, where, only)
        project = self._project
        try:
            if project.file is not None:
                return project.select(collection, condition)
            unshown = None if whole else dict.fromkeys(_UNSHOWN.get(collection, ()), 0)
            return list(project.database[collection].find(condition, unshown or None))
        except refusals() as error:
            raise refused(error) from error

    def _each(self, collection: str, campaign: str | None, *wanted: Filter | None) -> Iterator[dict[str, Any]]:
        """Yield whole documents one at a time."""
        return answer(self._project, Question(collection, self._condition(collection, campaign, *wanted)))

    def _condition(self, collection: str, campaign: str | None, *wanted: Filter | None) -> dict[str, Any]:
        parts = [dict(part) for part in (self._of_campaign(collection, campaign), *wanted) if part]
        refuse_code(parts)
        return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}

    def _of_campaign(self, collection: str, campaign: str | None) -> dict[str, Any]:
        if campaign is None:
            return {}
        if self._project.get(names.CAMPAIGNS, campaign) is None:
            from cathodeflow.campaign.transitions import unknown_campaign

            raise unknown_campaign(self._project, campaign)
        return {CAMPAIGN_FIELDS.get(collection, "campaign"): campaign}

    def _only(self, collection: str, key: str, campaign: str | None, only: Filter | None = None) -> dict[str, Any]:
        """Return the one document of a candidate."""
        found = self._documents(collection, campaign, {"key": key}, only, whole=True)
        what = f"{key} in {collection}" + (f" with {dict(only)}" if only else "")
        if not found:
            where = f"campaign {campaign}" if campaign else str(self.folder)
            raise CampaignError(f"there is no {what} of {where}: list keys with `cflow query {collection}`")
        if len(found) > 1:
            holders = ", ".join(sorted(document["campaign"] for document in found))
            raise CampaignError(f"several campaigns have {what}: name one with campaign= ({holders})")
        return found[0]

    def _frame(
        self,
        collection: str,
        campaign: str | None,
        where: Filter | None,
        *,
        only: Filter | None = None,
        columns: tuple[frames.Column, ...] | None = None,
        mix: bool = False,
    ) -> pd.DataFrame:
        documents = self._documents(collection, campaign, where, only)
        return self._with_provenance(documents, columns or frames.COLUMNS[collection], collection, mix=mix)

    def _with_provenance(
        self, rows: list[dict[str, Any]], columns: Iterable[frames.Column], collection: str, *, mix: bool = False
    ) -> pd.DataFrame:
        """Lay rows out; those that do not say their provenance have that of their campaign."""
        frame = frames.frame_of(rows, tuple(columns))
        if "provenance" not in frame:
            of_campaign = {d["_id"]: d["provenance"] for d in self._project.select(names.CAMPAIGNS, {})}
            frame["provenance"] = frame["campaign"].map(of_campaign)
        return self._finished(frame, collection, mix=mix)

    def _finished(self, frame: pd.DataFrame, collection: str, *, mix: bool) -> pd.DataFrame:
        frame.attrs["collection"] = collection
        if collection in _WITH_ENERGIES and not mix:
            _refuse_mixture(frame, collection)
        return frame


def _refuse_mixture(frame: pd.DataFrame, collection: str) -> None:
    counted = frame["provenance"].value_counts()
    if len(counted) > 1:
        held = ", ".join(f"{name}: {number}" for name, number in counted.items())
        raise CampaignError(
            f"these {collection} hold energies of several provenances ({held}), which must not be compared: "
            "choose one with campaign= or where=, or say mix_provenances=True and group by the column `provenance`"
        )
