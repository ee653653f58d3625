"""Crystals of a project as a scientist reads them: pymatgen structures of labels and candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.reader import Filter, Reader
from cathodeflow.errors import CampaignError
from cathodeflow.records.crystal import Crystal
from cathodeflow.records.outcomes import Outcome
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from cathodeflow.records.host import HostSpec
    from cathodeflow.science.hosts.host import Host


class CrystalReader(Reader):
    """The part of `campaign.reading.ProjectView` that returns structures."""

    def structure(self, key: str, *, relaxed: bool = True, campaign: str | None = None) -> Structure:
        """Return the crystal of a candidate as a pymatgen structure.

        Parameters
        ----------
        key : str
            Of the candidate, such as ``nvpf-Na3-V4Mo4-1b``.
        relaxed : bool
            The label's relaxed cell; else the host's sites with the other species on them.
        campaign : str, optional
            Which campaign's; needed where several have one.

        Raises
        ------
        CampaignError
            There is none, or several campaigns have one; says what there is.
        """
        if not relaxed:
            return self._decorated(self._only(names.CANDIDATES, key, campaign))
        found = self._only(names.LABELS, key, campaign)
        if found["relaxation"] is None:
            raise CampaignError(
                f"the label of {key} has no relaxed crystal, it was quarantined ({found['reason']}): "
                f"{found['message']}; ask with relaxed=False"
            )
        return Crystal(**found["relaxation"]["crystal"]).to_structure()

    def structures(
        self,
        where: Filter | None = None,
        *,
        relaxed: bool = True,
        campaign: str | None = None,
    ) -> Iterator[tuple[str, Structure]]:
        """Yield keys and crystals: of the usable labels that match, or of candidates with ``relaxed=False``.

        One at a time, so that a hundred thousand cost no memory. Raises as `labels`.
        """
        if not relaxed:
            for document in self._each(names.CANDIDATES, campaign, where):
                yield document["key"], self._decorated(document)
            return
        for document in self._each(names.LABELS, campaign, {"outcome": Outcome.DONE.value}, where):
            if document["relaxation"] is not None:
                yield document["key"], Crystal(**document["relaxation"]["crystal"]).to_structure()

    def _decorated(self, document: Mapping[str, Any]) -> Structure:
        from cathodeflow.science.hosts.candidates import decorate

        host = self._host(document["campaign"])
        return decorate(host.level(document["level"]), document["elements"], document["mask"])

    def _host(self, campaign: str) -> Host:
        if campaign not in self._hosts:
            from cathodeflow.campaign.transitions import read_campaign

            spec: HostSpec = read_campaign(self._project, campaign).host
            self._hosts[campaign] = spec.build()
        return self._hosts[campaign]

    @cached_property
    def _hosts(self) -> dict[str, Host]:
        return {}
