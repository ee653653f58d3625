"""FireWorks' own web site under `/fireworks`, narrowed to the campaigns that its reader may see.

Its `BASE_Q` is no access control (details of any job are shown whatever it says, and the report's pictures ignore it),
so the narrowing is done where no route can leave it out: in the collections that its launchpad reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.local import LocalProxy

from cathodeflow.campaign.query import refuse_code
from cathodeflow.dispatch.launchpad import launchpad_class
from cathodeflow.errors import DefinitionError
from cathodeflow.web.guard import FIREWORKS, IDENTITY, NONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from cathodeflow.storage.connection import Project

_LAUNCHPAD = "cathodeflow.launchpad"
_CAMPAIGN_OF = {"fireworks": "spec._campaign", "workflows": "metadata.campaign"}
# A style sheet that the package does not hold, and fonts from a server elsewhere.
_ELSEWHERE = re.compile(rb"""<link href="[^"]*font-awesome\.css"[^>]*>|@import url\(["']?(?:https?:)?//[^)]*\);?""")
_JQUERY = "/static/vendor/jquery-3.7.1.min.js"
_LINKS = re.compile(rb"""(?P<before>\b(?:href|src)=["']|getJSON\(")/(?=(?:fw|wf|report|reports|dashboard)?["'/])""")


class NarrowedCollection:
    """A collection that can be read and not written, and of which only some campaigns are there.

    Parameters
    ----------
    project : Project
        The open project.
    name : str
        Of the collection.
    campaigns : tuple of str or None
        The only campaigns whose documents are there; None for all.
    """

    def __init__(self, project: Project, name: str, campaigns: tuple[str, ...] | None) -> None:
        self._project = project
        self._collection = project.database[name]
        self._name = name
        self._campaigns = campaigns

    def find(self, filter: Mapping[str, Any] | None = None, *args: Any, **options: Any) -> Any:  # noqa: A002
        """As pymongo's; a list where the documents have to be looked at one by one."""
        condition = self._narrow(filter)
        sort = options.get("sort")
        if sort and self._name == "fireworks" and sort[0][0] == "_id":
            options["sort"] = [("fw_id", sort[0][1])]  # the same order, and one that has an index
        if self._campaigns is None or self._name in _CAMPAIGN_OF:
            return _Cursor(self._collection.find(condition, *args, **options), self._name)
        documents = list(self._collection.find(condition))
        mine = self._fireworks_of({document.get("fw_id") for document in documents})
        return [document for document in documents if document.get("fw_id") in mine]

    def find_one(self, filter: Mapping[str, Any] | None = None, *args: Any, **options: Any) -> Any:  # noqa: A002
        """As pymongo's."""
        if self._campaigns is not None and self._name not in _CAMPAIGN_OF:
            return next(iter(self.find(filter)), None)
        return self._collection.find_one(self._narrow(filter), *args, **options)

    def count_documents(self, filter: Mapping[str, Any], **_options: Any) -> int:  # noqa: A002
        """As pymongo's."""
        return self._project.count(self._name, self._narrow(filter))

    def aggregate(self, pipeline: list[dict[str, Any]], **options: Any) -> Any:
        """As pymongo's; a plain count is answered from an index."""
        if self._campaigns is not None and self._name not in _CAMPAIGN_OF:
            raise NotFound
        first, *rest = pipeline if pipeline and "$match" in pipeline[0] else [{"$match": {}}, *pipeline]
        condition = self._narrow(first["$match"])
        if rest == [{"$count": "count"}]:
            number = self._count(condition)
            return iter([{"count": number}] if number else [])
        return self._collection.aggregate([{"$match": condition}, *rest], **options)

    def index_information(self) -> Any:
        """As pymongo's."""
        return self._collection.index_information()

    def _count(self, condition: dict[str, Any]) -> int:
        if self._name != "workflows" or set(condition) - {"state", "metadata.campaign"}:
            return self._project.count(self._name, condition)
        states = request.environ.setdefault("cathodeflow.workflow_states", {})
        if not states:  # one pass for all states of a page in place of one for each
            counted = _narrowed({}, self._name, self._campaigns)
            states.update(self._project.count_by(self._name, "state", counted) or {"": 0})
        return states.get(condition["state"], 0) if "state" in condition else sum(states.values())

    def _narrow(self, condition: Mapping[str, Any] | None) -> dict[str, Any]:
        return _narrowed(condition or {}, self._name, self._campaigns)

    def _fireworks_of(self, fw_ids: set[Any]) -> set[Any]:
        condition = _narrowed({"fw_id": {"$in": list(fw_ids)}}, "fireworks", self._campaigns)
        return {found["fw_id"] for found in self._project.select("fireworks", condition)}


class _Cursor:
    """A cursor whose sort by `_id` uses the index of the numbers."""

    def __init__(self, cursor: Any, name: str) -> None:
        self._cursor = cursor
        self._name = name

    def sort(self, order: Any, direction: int | None = None) -> _Cursor:
        """As pymongo's."""
        wanted = [(order, direction or 1)] if isinstance(order, str) else list(order)
        if self._name == "fireworks" and wanted[0][0] == "_id":
            wanted = [("fw_id", wanted[0][1])]
        self._cursor = self._cursor.sort(wanted)
        return self

    def skip(self, number: int) -> _Cursor:
        """As pymongo's."""
        self._cursor = self._cursor.skip(max(number, 0))
        return self

    def limit(self, number: int) -> _Cursor:
        """As pymongo's."""
        self._cursor = self._cursor.limit(number)
        return self

    def __iter__(self) -> Any:
        return iter(self._cursor)


def _narrowed(condition: Mapping[str, Any], collection: str, campaigns: tuple[str, ...] | None) -> dict[str, Any]:
    """Return a filter with ours added, its empty parts left out so that an index can answer."""
    try:
        refuse_code(condition)
    except DefinitionError as error:
        raise BadRequest(str(error)) from error
    parts = list(_parts(condition))
    path = _CAMPAIGN_OF.get(collection)
    if campaigns is not None and path is not None:
        parts.append({path: {"$in": list(campaigns)}})
    names = [name for part in parts for name in part]
    if len(set(names)) == len(names) and not any(name.startswith("$") for name in names):
        return {name: value for part in parts for name, value in part.items()}
    return {"$and": parts}


def _parts(condition: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if set(condition) == {"$and"} and isinstance(condition["$and"], list):
        for part in condition["$and"]:
            yield from _parts(part)
    elif condition:
        yield dict(condition)


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
    narrowed = {name: NarrowedCollection(project, name, campaigns) for name in ("fireworks", "workflows", "launches")}
    for name, collection in narrowed.items():
        setattr(launchpad, name, collection)
    launchpad.db = narrowed  # FireWorks' report takes its collections from here
    return launchpad


class FireworksSite:
    """FireWorks' site as WSGI, its links and scripts mended for the place where it is mounted.

    Parameters
    ----------
    project : Project
        The open project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self.flask = _flask_site()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request that the guard let through."""
        account = environ[IDENTITY].account
        environ[_LAUNCHPAD] = narrowed_launchpad(self._project, account.campaigns)
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
    return app


def _not_found(_error: Exception) -> tuple[str, int, dict[str, str]]:
    return "There is no such job, workflow, state or order.\n", 404, {"Content-Type": "text/plain; charset=utf-8"}


def _mended(
    application: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse, script: str
) -> Iterable[bytes]:
    """Answer with FireWorks' page, its absolute links led to where it is, and nothing loaded from elsewhere."""
    said: list[Any] = []
    answer = application(environ, lambda status, headers, *_: said.append((status, headers)) or (lambda _: None))
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
    page = _ELSEWHERE.sub(b"", page)
    home = (
        f'<link rel="icon" href="data:,"></head><body><div class="container"><a href="{script}/">cathodeflow</a></div>'
    )
    page = re.sub(rb"</head>\s*<body>", lambda _: home.encode(), page, count=1)
    page = _LINKS.sub(lambda found: found["before"] + mount.encode() + b"/", page)
    return page.replace(b"<script", f'<script nonce="{nonce}"'.encode())
