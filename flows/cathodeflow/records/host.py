"""The host of a campaign as jobs receive it: by name if it is packaged, else with its crystals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from cathodeflow.records.crystal import Crystal
from cathodeflow.records.document import Part

if TYPE_CHECKING:
    from cathodeflow.science.hosts.host import Host


class HostLevelSpec(Part):
    """One level of an own host.

    Attributes
    ----------
    label : str
        E.g. ``Na3``.
    crystal : Crystal
        The unrelaxed host.
    sites : list of int
        Substitution sites, in the order of the bits of a mask.
    """

    label: str
    crystal: Crystal
    sites: list[int]


class HostSpec(Part):
    """All that a job needs to build the host: a few dozen bytes for a packaged one.

    Attributes
    ----------
    packaged : str or None
        Name of a packaged host; the rest is then empty.
    levels : list of HostLevelSpec
        From the most to the fewest working ions.
    """

    packaged: str | None = None
    name: str | None = None
    working_ion: str | None = None
    formula_units: int | None = None
    substituted_element: str | None = None
    levels: list[HostLevelSpec] = []

    @model_validator(mode="after")
    def _one_kind(self) -> HostSpec:
        own = (self.name, self.working_ion, self.formula_units, self.substituted_element)
        if self.packaged is None and (None in own or not self.levels):
            raise ValueError("a host is either packaged, or has name, working_ion, formula_units, element and levels")
        if self.packaged is not None and (self.levels or any(value is not None for value in own)):
            raise ValueError("a packaged host has no own crystals")
        return self

    @classmethod
    def of(cls, host: Host, packaged: str | None = None) -> HostSpec:
        """Describe a host.

        Parameters
        ----------
        host : Host
            As `science.hosts` builds it.
        packaged : str, optional
            Its name if it ships with the package; then its crystals stay out.
        """
        if packaged is not None:
            return cls(packaged=packaged)
        return cls(
            name=host.name,
            working_ion=host.working_ion,
            formula_units=host.formula_units,
            substituted_element=host.substituted_element,
            levels=[
                HostLevelSpec(
                    label=level.label,
                    crystal=Crystal.from_structure(level.structure),
                    sites=list(level.site_indices),
                )
                for level in host.levels
            ],
        )

    def build(self) -> Host:
        """Build and check the host.

        Raises
        ------
        HostError
            The crystals cannot carry a campaign.
        """
        from cathodeflow.science.hosts.host import Host, check_host, load_packaged_host

        if self.packaged is not None:
            return load_packaged_host(self.packaged)
        assert self.name is not None
        assert self.working_ion is not None
        assert self.formula_units is not None
        assert self.substituted_element is not None
        host = Host(
            self.name,
            self.working_ion,
            self.formula_units,
            self.substituted_element,
            tuple(_level(level, self.working_ion, self.formula_units) for level in self.levels),
        )
        check_host(host)
        return host


def _level(spec: HostLevelSpec, working_ion: str, formula_units: int) -> Any:
    from cathodeflow.science.hosts.host import HostLevel

    structure = spec.crystal.to_structure()
    count = sum(symbol == working_ion for symbol in spec.crystal.species)
    return HostLevel(spec.label, count / formula_units, count, structure, tuple(spec.sites))
