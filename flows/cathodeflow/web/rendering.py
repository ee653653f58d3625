"""Pages from templates; asked for as JSON, a page gives its living parts, which its script puts in place."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask import Response, g, jsonify, make_response, render_template, request
from jinja2 import StrictUndefined
from markupsafe import Markup

from cathodeflow.records.document import in_utc
from cathodeflow.report import wording

if TYPE_CHECKING:
    from flask import Flask

REASONS = {"out_of_memory": "out of memory", "exit_code": "failed with an exit code"}


def prepare(flask: Flask) -> None:
    """Give the templates their words."""
    flask.jinja_env.undefined = StrictUndefined
    flask.jinja_env.trim_blocks = True
    flask.jinja_env.lstrip_blocks = True
    flask.jinja_env.filters.update(
        number=wording.number,
        integer=wording.integer,
        duration=wording.duration,
        formula=wording.formula,
        rule_title=wording.rule_title,
        reason_title=lambda reason: REASONS.get(str(reason), wording.reason_title(reason)),
        moment=moment,
        time=time_element,
        hours=lambda seconds: wording.number(seconds / 3600, 1 if seconds < 360_000 else 0),
    )
    flask.jinja_env.globals["part"] = part


def part(name: str) -> Markup:
    """Return a living part of the page being rendered, in its frame."""
    return Markup('<div data-part="{}">{}</div>').format(name, _rendered(name))


def answer(template: str, parts: tuple[str, ...] = (), **context: Any) -> Response:
    """Answer with a page, or with its living parts where a script asks for them.

    Parameters
    ----------
    template : str
        Of the page.
    parts : tuple of str
        Templates in `parts/` that change with time.
    **context
        For the templates.
    """
    g.context = context
    # An address of its own: browsers keep one answer per address for going back.
    if request.args.get("parts") == "1":
        response = jsonify({"parts": {name: _rendered(name) for name in parts}})
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
        response.headers["Vary"] = "Accept, Cookie"
        # no-store would keep the browser from asking whether anything changed
        response.headers["Cache-Control"] = "private, no-cache"
        response.make_conditional(request)
        return response
    page = make_response(render_template(template, has_parts=bool(parts), **context))
    page.headers["Vary"] = "Accept, Cookie"
    return page


def _rendered(name: str) -> Markup:
    return Markup(render_template(f"parts/{name}.html", **g.context))  # noqa: S704 - escaped by the template


def moment(value: Any) -> str:
    """Write a time of the store, in UTC."""
    found = as_time(value)
    return "–" if found is None else f"{found:%Y-%m-%d %H:%M:%S}"


def time_element(value: Any) -> Markup:
    """Write a time of the store as an element that scripts can read."""
    found = as_time(value)
    if found is None:
        return Markup("–")
    return Markup('<time datetime="{}">{}</time>').format(found.isoformat(timespec="seconds"), moment(found))


def as_time(value: Any) -> datetime | None:
    """Read a time of the store: FireWorks keeps some as text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return in_utc(value) if isinstance(value, datetime) else None
