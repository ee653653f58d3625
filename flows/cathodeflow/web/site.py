"""The whole site: our pages, FireWorks' own under `/fireworks`, and the guard in front of both."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Flask, Response, render_template, request, send_from_directory
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from cathodeflow import __version__
from cathodeflow.errors import CampaignError, CathodeflowError, DefinitionError
from cathodeflow.storage.server import explain
from cathodeflow.web import actions, campaign_page, candidate_page, job_page, lists, metrics, rendering, sign_in
from cathodeflow.web.access import AccessFile, Role
from cathodeflow.web.fireworks_site import FireworksSite
from cathodeflow.web.guard import FIREWORKS, IDENTITY, Guard, GuardOptions
from cathodeflow.web.kept_counts import KeptCounts
from cathodeflow.web.served import Followed, Served
from cathodeflow.web.throughput import Ledger

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project

BLUEPRINTS = (
    campaign_page.pages,
    lists.pages,
    job_page.pages,
    candidate_page.pages,
    actions.pages,
    metrics.pages,
    sign_in.pages,
)


def create_site(
    project: Project,
    access: AccessFile,
    options: GuardOptions | None = None,
    ledger: Ledger | None = None,
    counts: KeptCounts | None = None,
    serve: Callable[[Project], Served] | None = None,
) -> Guard:
    """Assemble the dashboard of a project; it follows when the project is moved to another store.

    Parameters
    ----------
    project : Project
        The open project.
    access : AccessFile
        Who may see and do what.
    options : GuardOptions, optional
        How strict the guard is.
    ledger : Ledger, optional
        Running sums that somebody else keeps up to date.
    counts : KeptCounts, optional
        Slow counts that somebody else asks for, too.
    serve : callable, optional
        Makes ledger and counts of the project after it was moved.

    Returns
    -------
    Guard
        A WSGI application.
    """
    from cathodeflow.dispatch.launchpad import project_launchpad

    project_launchpad(project)  # its indexes, which the pages count by
    counts = KeptCounts(project) if counts is None else counts
    followed = Followed(Served(project, ledger or Ledger(project), counts), serve or _serve)
    flask = own_pages(followed)
    fireworks = FireworksSite(followed)
    guard = Guard(DispatcherMiddleware(flask.wsgi_app, {FIREWORKS: fireworks}), access, options or GuardOptions())
    flask.extensions["guard"] = guard
    flask.extensions["fireworks"] = fireworks.flask
    return guard


def _serve(project: Project) -> Served:
    return Served(project, Ledger(project), KeptCounts(project))


def own_pages(followed: Followed) -> Flask:
    """Return our pages, which rely on the guard."""
    flask = Flask("cathodeflow.web", static_folder=None)
    # Flask's own session holds the sentence that tells how an action went, nothing else.
    flask.secret_key = secrets.token_bytes(32)
    flask.config.update(SESSION_COOKIE_NAME="cathodeflow_note", SESSION_COOKIE_HTTPONLY=True)
    flask.config.update(SESSION_COOKIE_SAMESITE="Strict", MAX_CONTENT_LENGTH=64 * 1024)
    flask.extensions["followed"] = followed
    rendering.prepare(flask)
    for blueprint in BLUEPRINTS:
        flask.register_blueprint(blueprint)
    flask.add_url_rule("/static/<path:name>", "static", _static)
    flask.context_processor(_for_every_page)
    flask.register_error_handler(HTTPException, _explain)
    flask.register_error_handler(CathodeflowError, _explain_own)
    flask.register_error_handler(PyMongoError, _explain_store)
    return flask


def _static(name: str) -> Response:
    return send_from_directory("static", name, max_age=3600)


def _for_every_page() -> dict[str, Any]:
    identity = request.environ.get(IDENTITY)
    return {
        "identity": identity,
        "is_operator": identity is not None and identity.account.role == Role.OPERATOR,
        "version": __version__,
        "here": _here(),
        "fireworks": f"{request.environ.get('SCRIPT_NAME', '')}{FIREWORKS}",
        "factors": actions.FACTORS,
    }


def _here() -> str:
    """Return the address of the page, also when its parts are asked for."""
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "parts"]
    return f"{request.path}?{urlencode(kept)}" if kept else request.path


def _explain(error: HTTPException) -> tuple[str, int] | HTTPException:
    if error.code is None or error.code < 400:
        return error
    sentence = error.description or ""
    if isinstance(error, InternalServerError):
        sentence = "This should not have happened; the log of the dashboard has the details."
    return _sentence(error.name, sentence, error.code)


def _explain_own(error: CathodeflowError) -> tuple[str, int]:
    status = 400 if isinstance(error, DefinitionError) else 409 if isinstance(error, CampaignError) else 503
    return _sentence("It did not work", str(error), status)


def _explain_store(error: PyMongoError) -> tuple[str, int]:
    return _sentence("The store did not answer", explain(error), 503)


def _sentence(title: str, sentence: str, status: int) -> tuple[str, int]:
    return render_template("error.html", title=title, sentence=sentence), status
