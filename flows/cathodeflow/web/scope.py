"""What the person behind a request may see, and what they asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import current_app, g, request
from werkzeug.exceptions import BadRequest, NotFound

from cathodeflow.web.guard import IDENTITY
from cathodeflow.web.login import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cathodeflow.storage.connection import Project
    from cathodeflow.web.kept_counts import KeptCounts
    from cathodeflow.web.served import Followed, Served
    from cathodeflow.web.throughput import Ledger

PAGE_ROWS = 50
MOST_PAGES = 40
LONGEST_VALUE = 200


def _served() -> Served:
    followed: Followed = current_app.extensions["followed"]
    return followed.of_request(request.environ)


def project() -> Project:
    """Return the project that is served; raises StoreError where it was moved to where it cannot be followed."""
    return _served().project


def counted() -> Project:
    """Return the project for pages that count: where counting is slow, counts are a little old (`count_age`)."""
    return cast("Project", _kept_counts())


def count_age() -> float:
    """Return how old the oldest count of the page being made is, seconds."""
    return _kept_counts().age_s


def forget_counts() -> None:
    """Have everything counted anew, after somebody has changed something."""
    _kept_counts().forget()


def _kept_counts() -> KeptCounts:
    return _served().counts


def ledger() -> Ledger:
    """Return the running sums of its launches."""
    return _served().ledger


def identity() -> Identity:
    """Return who asks; the guard has made sure of it."""
    found: Identity = request.environ[IDENTITY]
    return found


def visible_campaigns() -> list[str]:
    """Return the names of the campaigns that the asker may see."""
    account = identity().account
    return [name for name in project().campaign_names() if account.sees(name)]


def campaign_document(name: str) -> dict[str, Any]:
    """Return a campaign's document.

    Raises
    ------
    NotFound
        There is none, or it is not for the asker: the answer is the same.
    """
    found = project().get("campaigns", name) if identity().account.sees(name) else None
    if found is None:
        raise NotFound("There is no such campaign.")
    mark_rehearsal(found)
    return found


def mark_rehearsal(campaign: Mapping[str, Any]) -> None:
    """Have the page that is being made say that the campaign's numbers are of stand-ins."""
    g.rehearsed = str(campaign.get("provenance", "")).startswith("rehearsal")


def firework_document(fw_id: int) -> dict[str, Any]:
    """Return a job's document; raises as `campaign_document`."""
    found = project().select("fireworks", {"fw_id": fw_id}, limit=1) if fw_id < 2**53 else []
    if not found or not identity().account.sees(found[0]["spec"].get("_campaign")):
        raise NotFound("There is no such job.")
    return found[0]


def asked(name: str, allowed: tuple[str, ...] | list[str] | None = None) -> str:
    """Return a value of the query; empty when it was not given.

    Raises
    ------
    BadRequest
        It is too long, or none of those allowed.
    """
    value = request.args.get(name, "").strip()
    if len(value) > LONGEST_VALUE or not value.isprintable():
        raise BadRequest(f"The value of {name} cannot be used: it is too long, or holds control characters.")
    if value and allowed is not None and value not in allowed:
        raise BadRequest(f"{name} is none of {', '.join(allowed)}.")
    return value


def asked_number(name: str, default: int, least: int, most: int) -> int:
    """Return a whole number of the query; raises as `asked`."""
    text = asked(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise BadRequest(f"{name} is no whole number from {least} to {most}.")
    return int(text)
