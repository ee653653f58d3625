"""The guard in front of everything: who is it, may they, is the request forged; and headers on every answer.

It stands before our pages and FireWorks' alike, as WSGI: no route of either can be reached around it. What a signed-in
person then sees is narrowed by `scope`.
"""

from __future__ import annotations

import hmac
import io
import ipaddress
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from cathodeflow.errors import CathodeflowError
from cathodeflow.web.access import AccessFile, Role
from cathodeflow.web.login import FailedLogins, Identity, Sessions

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

IDENTITY = "cathodeflow.identity"
NONCE = "cathodeflow.nonce"
CSRF_FIELD = "csrf"
FIREWORKS = "/fireworks"
OPEN_PATHS = frozenset({"/login", "/static/dashboard.css"})
"""What is answered without an identity: the form to sign in, and what it looks like."""

FOR_EVERYONE_TO_POST = frozenset({"/login", "/logout"})
LARGEST_BODY = 64 * 1024
LONGEST_QUERY = 8 * 1024
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
_OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# FireWorks' pages hold scripts and styles of their own, and handlebars compiles templates.
_FIREWORKS_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True)
class GuardOptions:
    """How strict the guard is.

    Attributes
    ----------
    hosts : tuple of str
        Names by which the dashboard may be asked for, besides those of this machine; a page elsewhere that makes its
        own name point here is refused.
    secure : bool
        Whether the connection is encrypted: the cookie is then sent over no other.
    """

    hosts: tuple[str, ...] = ()
    secure: bool = False


@dataclass
class Guard:
    """WSGI in front of the site.

    Parameters
    ----------
    application : WSGI application
        What is guarded; finds the identity in the environment.
    access : AccessFile
        The accounts.
    options : GuardOptions
        How strict.
    """

    application: WSGIApplication
    access: AccessFile
    options: GuardOptions = field(default_factory=GuardOptions)
    failures: FailedLogins = field(default_factory=FailedLogins)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.access)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        nonce = environ[NONCE] = secrets.token_urlsafe(16)
        answer = _with_headers(start_response, environ.get("PATH_INFO", "/"), nonce, secure=self.options.secure)
        try:
            refusal = self._refusal(environ)
        except CathodeflowError as error:
            refusal = _Refusal("503 Service Unavailable", str(error))
        if refusal is not None:
            return refusal(environ, answer)
        return self.application(environ, answer)

    def _refusal(self, environ: WSGIEnvironment) -> _Refusal | None:
        """Return the refusal of a request; None when it may go on, with its identity in the environment."""
        path, method = environ.get("PATH_INFO", "/"), environ["REQUEST_METHOD"]
        if not self._is_our_host(environ.get("HTTP_HOST", "")):
            return _Refusal(
                "421 Misdirected Request", "This is not a name of the dashboard: start it with --host-name."
            )
        if len(environ.get("QUERY_STRING", "")) > LONGEST_QUERY:
            return _Refusal("414 URI Too Long", "The filter is too long.")
        if method not in {"GET", "HEAD", "POST"} or (method == "POST" and _is_fireworks(path)):
            return _Refusal("405 Method Not Allowed", "This can only be read.")
        identity, refusal = self._identify(environ)
        if refusal is not None:
            return refusal
        environ[IDENTITY] = identity
        if identity is None and path not in OPEN_PATHS:
            return _sign_in(environ)
        return self._refuse_post(environ, path, identity) if method == "POST" else None

    def _identify(self, environ: WSGIEnvironment) -> tuple[Identity | None, _Refusal | None]:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not token:
            return self.sessions.identity(_cookie(environ, self.sessions.cookie)), None
        address = f"address {environ.get('REMOTE_ADDR', '')}"
        wait = self.failures.seconds_to_wait(address)
        if wait:
            return None, too_many(wait)
        account = self.access.with_token(token.strip()) if scheme.lower() == "bearer" else None
        if account is None:
            self.failures.note(address)
            return None, _Refusal(
                "401 Unauthorized", "This token belongs to nobody.", (("WWW-Authenticate", "Bearer"),)
            )
        return Identity(account, "", by_cookie=False), None

    def _refuse_post(self, environ: WSGIEnvironment, path: str, identity: Identity | None) -> _Refusal | None:
        if not _is_same_origin(environ):
            return _Refusal("403 Forbidden", "This request comes from another site.")
        try:
            size = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            size = -1
        if not 0 <= size <= LARGEST_BODY:
            return _Refusal("413 Content Too Large", "The request is too large.")
        body = environ["wsgi.input"].read(size)
        environ["wsgi.input"] = io.BytesIO(body)
        if identity is None:
            return None  # the form to sign in: nothing to forge yet
        if identity.by_cookie:
            sent = parse_qs(body.decode("utf-8", errors="replace")).get(CSRF_FIELD, [""])[0]
            if not hmac.compare_digest(sent.encode(), identity.csrf.encode()):
                return _Refusal("403 Forbidden", "The form is out of date: load the page again and repeat.")
        if path not in FOR_EVERYONE_TO_POST and identity.account.role != Role.OPERATOR:
            return _Refusal("403 Forbidden", "Your account may look and not act: ask for the role of an operator.")
        return None

    def _is_our_host(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.strip("[]").lower()
        if name in {"localhost", *(known.lower() for known in self.options.hosts)}:
            return True
        try:
            ipaddress.ip_address(name)  # an address cannot be made to point elsewhere
        except ValueError:
            return False
        return True


def too_many(wait: float) -> _Refusal:
    """Return the refusal of one who failed too often."""
    return _Refusal(
        "429 Too Many Requests",
        f"Too many failed attempts: try again in {wait / 60:.0f} min." if wait > 90 else f"Wait {wait:.0f} s.",
        (("Retry-After", f"{wait:.0f}"),),
    )


@dataclass(frozen=True)
class _Refusal:
    """An answer that is no page: one sentence."""

    status: str
    sentence: str
    headers: tuple[tuple[str, str], ...] = ()

    def __call__(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = (self.sentence + "\n").encode()
        start_response(
            self.status,
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *self.headers],
        )
        return [body]


def _sign_in(environ: WSGIEnvironment) -> _Refusal:
    """Send a browser that asks for a page to the form; tell everything else that it is not signed in."""
    wants_page = environ["REQUEST_METHOD"] == "GET" and "text/html" in environ.get("HTTP_ACCEPT", "")
    if not wants_page:
        return _Refusal("401 Unauthorized", "Sign in first.", (("WWW-Authenticate", "Bearer"),))
    prefix, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "/")
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    target = quote(f"{path}{query}", safe="/")
    return _Refusal("303 See Other", "Sign in first.", (("Location", f"{prefix}/login?next={target}"),))


def _cookie(environ: WSGIEnvironment, wanted: str) -> str | None:
    for part in str(environ.get("HTTP_COOKIE", "")).split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value.strip('"')
    return None


def _is_same_origin(environ: WSGIEnvironment) -> bool:
    """Whether the browser says that the form is ours; programs, which say nothing, are no browsers."""
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = environ.get("HTTP_ORIGIN")
    return origin is None or urlsplit(origin).netloc == environ.get("HTTP_HOST")


def _is_fireworks(path: str) -> bool:
    return path == FIREWORKS or path.startswith(f"{FIREWORKS}/")


def _with_headers(start_response: StartResponse, path: str, nonce: str, *, secure: bool) -> Callable[..., Any]:
    policy = _FIREWORKS_POLICY.format(nonce=nonce) if _is_fireworks(path) else _OWN_POLICY
    added = [*_HEADERS, ("Content-Security-Policy", policy)]
    if secure:
        added.append(("Strict-Transport-Security", "max-age=31536000"))

    def answer(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        given = {name.lower() for name, _ in headers}
        extra = [(name, value) for name, value in added if name.lower() not in given]
        if "cache-control" not in given:
            extra.append(("Cache-Control", "no-store"))
        return start_response(status, [*headers, *extra], *rest)

    return answer


def safe_target(target: str | None) -> str:
    """Return where to go after signing in: a path of the dashboard, never another site."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")) or "\\" in target:
        return "/"
    parts = urlsplit(target)
    return "/" if parts.scheme or parts.netloc or not target.isprintable() else target
