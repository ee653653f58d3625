"""Candidates: every distinct arrangement of every composition at every working-ion level."""

from __future__ import annotations

from cathodeflow.records.document import Document


def candidate_id(campaign: str, key: str) -> str:
    """Return the natural key of a candidate in the store."""
    return f"{campaign}/{key}"


class CandidateRecord(Document):
    """One distinct arrangement (immutable). The crystal is made from it when needed, never stored.

    Attributes
    ----------
    key : str
        As `science.hosts.candidates.Candidate.key`, e.g. ``nvpf-Na3-Cu2Mo6-3f``.
    mask : int
        Bit i set: substitution site i of the level carries the second element.
    multiplicity : int
        How many arrangements this one stands for under the symmetry of the host cell.
    """

    campaign: str
    key: str
    host: str
    level: str
    composition: str
    elements: list[str]
    counts: list[int]
    mask: int
    multiplicity: int
