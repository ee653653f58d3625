"""Signing in and out."""

from __future__ import annotations

import logging

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from cathodeflow.web.access import Account
from cathodeflow.web.guard import IDENTITY, Guard, safe_target, too_many
from cathodeflow.web.login import SESSION_S

LONGEST_SECRET = 1024

log = logging.getLogger("cathodeflow.dashboard")
pages = Blueprint("sign_in", __name__)


@pages.get("/login")
def login() -> Response:
    """Answer with the form; a token in the address signs in at once."""
    target = safe_target(request.args.get("next"))
    token = request.args.get("token", "")
    if token:
        return _signed_in("", token, target)
    if request.environ[IDENTITY] is not None:
        return redirect(_prefixed(target))
    return _form(target, "", 200)


@pages.post("/login")
def check() -> Response:
    """Sign in with a name and a password, or with a token."""
    name, secret = request.form.get("name", "").strip(), request.form.get("secret", "")
    return _signed_in(name, secret, safe_target(request.form.get("next")))


@pages.post("/logout")
def logout() -> Response:
    """Sign out."""
    guard: Guard = current_app.extensions["guard"]
    response = redirect(url_for("sign_in.login"))
    response.delete_cookie(guard.sessions.cookie, path="/", httponly=True, samesite="Strict")
    return response


def _signed_in(name: str, secret: str, target: str) -> Response:
    guard: Guard = current_app.extensions["guard"]
    who = [f"address {request.remote_addr}", *([f"name {name}"] if name else [])]
    wait = guard.failures.seconds_to_wait(*who)
    if wait:
        refusal = too_many(wait)
        response = _form(target, refusal.sentence, 429)
        response.headers.extend(refusal.headers)
        return response
    account = _account(guard, name, secret)
    if account is None:
        guard.failures.note(*who)
        log.warning("failed login from %s as %r", request.remote_addr, name[:64])
        return _form(target, "The name, the password or the token is wrong.", 401)
    guard.failures.forget(*who)
    log.info("%s signed in from %s", account.name, request.remote_addr)
    response = redirect(_prefixed(target), 303)
    response.set_cookie(
        guard.sessions.cookie,
        guard.sessions.open(account),
        max_age=SESSION_S,
        path="/",
        secure=guard.options.secure,
        httponly=True,
        samesite="Strict",
    )
    return response


def _account(guard: Guard, name: str, secret: str) -> Account | None:
    if not secret or len(secret) > LONGEST_SECRET or len(name) > LONGEST_SECRET:
        return None
    return guard.access.with_password(name, secret) if name else guard.access.with_token(secret)


def _form(target: str, message: str, status: int) -> Response:
    return make_response(render_template("login.html", target=target, message=message), status)


def _prefixed(target: str) -> str:
    return f"{request.environ.get('SCRIPT_NAME', '')}{target}"
