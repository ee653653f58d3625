from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner
from tests.unit.web.conftest import PASSWORD, SEEN, Site, Visitor, make_site
from werkzeug.test import Client

from cathodeflow.storage.connection import open_project
from cathodeflow.web.access import AccessFile, Role, new_password_account
from cathodeflow.web.guard import Guard, GuardOptions, safe_target
from cathodeflow.web.login import COOKIE, FAILURE_WINDOW_S, MOST_FAILURES, SESSION_S, FailedLogins, Sessions
from cathodeflow.web.site import create_site

HOST = {"Host": "localhost", "Accept": "text/html"}


@pytest.fixture
def fresh(world: Path, tmp_path: Path) -> Site:
    """A dashboard of its own: failed logins are remembered by it."""
    return make_site(open_project(world), tmp_path)


def sign_in(client: Client, name: str, secret: str, target: str = "/") -> int:
    form = {"name": name, "secret": secret, "next": target}
    return client.post("/login", data=form, headers=HOST).status_code


def test_a_person_signs_in_with_a_password_and_out_again(fresh: Site):
    client = fresh.nobody()
    answer = client.post("/login", data={"name": "olga", "secret": PASSWORD, "next": "/campaigns/trial"}, headers=HOST)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/campaigns/trial"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    page = client.get("/campaigns/trial", headers=HOST)
    assert page.status_code == 200
    csrf = page.text.split('name="csrf" value="')[1][:64]
    client.post("/logout", data={"csrf": csrf}, headers=HOST)
    assert client.get("/campaigns/trial", headers=HOST).status_code == 303


def test_the_address_with_a_token_signs_in(fresh: Site):
    client = fresh.nobody()
    assert client.get(f"/login?token={fresh.tokens['script']}", headers=HOST).status_code == 303
    assert client.get("/", headers=HOST).status_code == 200


def test_guessing_is_stopped_for_a_while(fresh: Site):
    client = fresh.nobody()
    answers = [sign_in(client, "olga", f"wrong {number}") for number in range(MOST_FAILURES + 2)]
    assert answers == [401] * MOST_FAILURES + [429] * 2
    assert sign_in(client, "olga", PASSWORD) == 429


def test_guessing_tokens_is_stopped_too(fresh: Site):
    headers = {**HOST, "Authorization": "Bearer guess"}
    answers = [fresh.nobody().get("/metrics", headers=headers).status_code for _ in range(MOST_FAILURES + 1)]
    assert answers == [401] * MOST_FAILURES + [429]


def test_failures_are_forgotten_after_the_window():
    now = [0.0]
    failures = FailedLogins(lambda: now[0])
    for _ in range(MOST_FAILURES):
        failures.note("ada")
    assert failures.seconds_to_wait("ada") == pytest.approx(FAILURE_WINDOW_S)
    assert failures.seconds_to_wait("bob") == 0
    now[0] = FAILURE_WINDOW_S + 1
    assert failures.seconds_to_wait("ada") == 0


def test_a_session_ends_with_its_time_its_password_and_its_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    access = AccessFile(tmp_path / "access.json")
    account = new_password_account("ada", Role.VIEWER, None, PASSWORD)
    access.put(account)
    sessions = Sessions(access)
    cookie = sessions.open(account)
    assert sessions.identity(cookie).account == account  # type: ignore[union-attr]
    assert sessions.identity(cookie[:-2] + "xx") is None
    assert sessions.identity("") is None
    later = int(time.time()) + SESSION_S + 5
    with monkeypatch.context() as patched:
        patched.setattr(TimestampSigner, "get_timestamp", lambda _: later)
        assert sessions.identity(cookie) is None
    access.put(new_password_account("ada", Role.VIEWER, None, PASSWORD + "!"))
    assert sessions.identity(cookie) is None
    access.remove("ada")
    assert sessions.identity(cookie) is None


def test_two_dashboards_on_one_host_do_not_sign_each_other_out(site: Site, fresh: Site):
    """A browser sends a cookie to every port of a host."""
    assert site.guard.sessions.cookie != fresh.guard.sessions.cookie
    both = Visitor(site.guard, site.operator.account)
    both.client.set_cookie(fresh.guard.sessions.cookie, fresh.guard.sessions.open(fresh.operator.account))
    assert both.get("/").status_code == 200


def test_two_sessions_have_different_tokens_for_their_forms(site: Site):
    again = Visitor(site.guard, site.operator.account)
    assert again.csrf() != site.operator.csrf()


def test_a_form_from_another_site_is_refused(site: Site):
    address = f"/campaigns/{SEEN}/pause"
    data = {"csrf": site.operator.csrf()}
    for name, value in (("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")):
        headers = site.operator.headers | {name: value}
        assert site.operator.client.post(address, data=data, headers=headers).status_code == 403


def test_a_name_that_points_here_from_elsewhere_is_refused(site: Site):
    for host, status in (("evil.example", 421), ("localhost", 303), ("127.0.0.1:8765", 303), ("[::1]:8765", 303)):
        answer = site.nobody().get("/", headers={"Host": host, "Accept": "text/html"})
        assert answer.status_code == status, host


def test_a_name_that_is_allowed_is_not(site: Site):
    named = Guard(site.guard.application, site.access, GuardOptions(("dash.example",), secure=True))
    answer = Client(named).get("/", headers={"Host": "dash.example", "Accept": "text/html"})
    assert answer.status_code == 303
    assert "Strict-Transport-Security" in answer.headers


def test_every_answer_carries_the_headers_that_keep_a_page_to_itself(site: Site):
    for path in ("/", "/login", "/nothing", "/static/dashboard.js", "/fireworks/", "/fireworks/fw/1/details"):
        answer = site.operator.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert "unsafe" not in site.operator.get("/").headers["Content-Security-Policy"]
    assert site.operator.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"])
def test_other_methods_are_refused(site: Site, method: str):
    assert site.operator.client.open("/", method=method, headers=site.operator.headers).status_code == 405


def test_what_is_too_large_is_refused(site: Site):
    assert site.operator.get("/campaigns/trial/jobs?key=" + "x" * 9000).status_code == 414
    answer = site.operator.client.post("/logout", data={"csrf": "x" * 70_000}, headers=site.operator.headers)
    assert answer.status_code == 413


def test_a_damaged_accounts_file_shuts_everybody_out(world: Path, tmp_path: Path):
    path = tmp_path / "access.json"
    guard = create_site(open_project(world), AccessFile(path))
    path.write_text("{")
    path.chmod(0o600)
    client = Client(guard)
    client.set_cookie(COOKIE, "x", domain="localhost")
    answer = client.get("/", headers=HOST)
    assert answer.status_code == 503
    assert "damaged" in answer.text


@given(st.text(max_size=40))
def test_signing_in_never_leads_to_another_site(text: str):
    target = safe_target(text)
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x"],
)
def test_known_tricks_lead_home(target: str):
    assert safe_target(target) == "/"
