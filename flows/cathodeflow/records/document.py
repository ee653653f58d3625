"""What every document carries."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

_VERSIONED_SOFTWARE = ("cathodeflow", "chgnet", "matgl", "atomate2", "jobflow", "FireWorks", "torch", "pymatgen")


def software_versions() -> dict[str, str]:
    """Versions of the software that makes numbers here.

    Returns
    -------
    dict of str to str
        Distribution name to version; what is not installed is left out.
    """
    found = {}
    for name in _VERSIONED_SOFTWARE:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> datetime:
    """Return the time, in UTC, to the millisecond (what BSON keeps)."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def in_utc(moment: datetime) -> datetime:
    """Read a time without zone as UTC: BSON keeps none."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(in_utc)]


class Part(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(BaseModel):
    """A document of the store, written once.

    Attributes
    ----------
    id : str
        The natural key; `_id` in the store, so that inserting twice is harmless.
    schema_version : int
        Version of the document's layout.
    created_at : datetime
        When it was made, UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    id: str = Field(alias="_id")
    schema_version: int = SCHEMA_VERSION
    created_at: Moment = Field(default_factory=now)

    def to_mongo(self) -> dict[str, Any]:
        """Return the document as the store keeps it (`_id`, plain values)."""
        return self.model_dump(by_alias=True, mode="python")

    @classmethod
    def from_mongo(cls, document: dict[str, Any]) -> Self:
        """Read a document of the store.

        Raises
        ------
        pydantic.ValidationError
            The document is not of this kind.
        """
        return cls.model_validate(document)
