"""FireWorks' own web site under `/fireworks`, narrowed to the campaigns that its reader may see.

Its `BASE_Q` is no access control (details of any job are shown whatever it says, and the report's pictures ignore it),
so the narrowing is done where no route can leave it out: in the collections that its launchpad reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from flask import request
from pymongo.errors import PyMongoError
from werkzeug.local import LocalProxy

from cathodeflow.dispatch.jobs import FIREWORKS as FIREWORKS_COLLECTION
from cathodeflow.dispatch.jobs import LAUNCHES, WORKFLOWS
from cathodeflow.dispatch.launchpad import launchpad_class
from cathodeflow.errors import StoreError
from cathodeflow.storage.server import explain
from cathodeflow.web.fireworks_collections import NarrowedCollection
from cathodeflow.web.guard import FIREWORKS, IDENTITY, NONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from cathodeflow.storage.connection import Project
    from cathodeflow.web.served import Followed

_LAUNCHPAD = "cathodeflow.launchpad"
NAMES = (FIREWORKS_COLLECTION, WORKFLOWS, LAUNCHES)
# A style sheet that the package does not hold, and fonts from a server elsewhere.
_ELSEWHERE = re.compile(rb"""<link href="[^"]*font-awesome\.css"[^>]*>|@import url\(["']?(?:https?:)?//[^)]*\);?""")
# Our policy runs no script in an attribute; without it the form asks for the page by itself.
_HANDLER = b' onsubmit="return gotoPage(this);"'
_JQUERY = "/static/vendor/jquery-3.7.1.min.js"
_LINKS = re.compile(rb"""(?P<before>\b(?:href|src)=["']|getJSON\(")/(?=(?:fw|wf|report|reports|dashboard)?["'/])""")


def narrowed_launchpad(project: Project, campaigns: tuple[str, ...] | None) -> Any:
    """Return a launchpad that reads some campaigns only and writes nothing.

    Parameters
    ----------
    project : Project
        The open project.
    campaigns : tuple of str or None
        None for all.
    """
    launchpad = launchpad_class(project)(project)
    collections = {name: NarrowedCollection(project, name, campaigns) for name in NAMES}
    for name, collection in collections.items():
        setattr(launchpad, name, collection)
    launchpad.db = collections  # FireWorks' report takes its collections from here
    return launchpad


class FireworksSite:
    """FireWorks' site as WSGI, its links and scripts mended for the place where it is mounted.

    Parameters
    ----------
    followed : Followed
        The project, wherever it is moved.
    """

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self.flask = _flask_site()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request that the guard let through."""
        account = environ[IDENTITY].account
        try:
            served = self._followed.of_request(environ)
        except StoreError as error:
            body = f"{error}\n".encode()
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
            start_response("503 Service Unavailable", headers)
            return [body]
        environ[_LAUNCHPAD] = narrowed_launchpad(cast("Project", served.counts), account.campaigns)
        script = environ.get("SCRIPT_NAME", "").removesuffix(FIREWORKS)
        return _mended(self.flask.wsgi_app, environ, start_response, script)


def _flask_site() -> Any:
    """Return FireWorks' one application, made to ask the request for its launchpad."""
    from fireworks.flask_site.app import app

    if not isinstance(app.__dict__.get("lp"), LocalProxy):
        app.lp = LocalProxy(lambda: request.environ[_LAUNCHPAD])
        app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_PATH=FIREWORKS)
        # What FireWorks raises on a job that is not there, or on words that it does not know.
        for kind in (ValueError, TypeError, KeyError, RuntimeError):
            app.register_error_handler(kind, _not_found)
        app.register_error_handler(PyMongoError, _unreachable)
    return app


def _not_found(_error: Exception) -> tuple[str, int, dict[str, str]]:
    return "There is no such job, workflow, state or order.\n", 404, {"Content-Type": "text/plain; charset=utf-8"}


def _unreachable(error: Exception) -> tuple[str, int, dict[str, str]]:
    return f"{explain(error)}\n", 503, {"Content-Type": "text/plain; charset=utf-8"}


def _mended(
    application: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse, script: str
) -> Iterable[bytes]:
    """Answer with FireWorks' page, its absolute links led to where it is, and nothing loaded from elsewhere."""
    said: list[Any] = []

    def note(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        said.append((status, headers))
        return said.append  # FireWorks' site never writes by it

    answer = application(environ, note)
    status, headers = said[0] if said else ("500 Internal Server Error", [])
    kinds = {name.lower(): value for name, value in headers}
    own_file = environ.get("PATH_INFO", "").endswith(("wf_cyto.js", "flat-ui.css"))
    if not own_file and not kinds.get("content-type", "").startswith("text/html"):
        start_response(*(said[0] if said else (status, headers)))
        return answer
    page = b"".join(answer)
    if callable(close := getattr(answer, "close", None)):
        close()
    page = _mend(page, f"{script}{FIREWORKS}", script, environ[NONCE])
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "etag"}]
    start_response(status, [*kept, ("Content-Length", str(len(page)))])
    return [page]


def _mend(page: bytes, mount: str, script: str, nonce: str) -> bytes:
    page = page.replace(b"//code.jquery.com/jquery.min.js", f"{script}{_JQUERY}".encode())
    page = _ELSEWHERE.sub(b"", page).replace(_HANDLER, b"")
    page = _LINKS.sub(lambda found: found["before"] + mount.encode() + b"/", page)
    # After the links: this one leads out of FireWorks' pages.
    home = (
        f'<link rel="icon" href="data:,"></head><body><div class="container"><a href="{script}/">cathodeflow</a></div>'
    )
    page = re.sub(rb"</head>\s*<body>", lambda _: home.encode(), page, count=1)
    return page.replace(b"<script", f'<script nonce="{nonce}"'.encode())
