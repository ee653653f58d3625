"""Every route there is, FireWorks' own too: none without a login, none shows a campaign not for its reader."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from tests.unit.web.conftest import HIDDEN, SEEN, Site
from werkzeug.routing import Rule

from cathodeflow.web.guard import FIREWORKS, OPEN_PATHS

VALUES = {
    "state": "COMPLETED",
    "sorting_key": "_id",
    "sorting_order": "ASCENDING",
    "interval": "days",
    "num_intervals": "7",
    "coll": "fireworks",
    "filename": "css/styles.css",
}
FORBIDDEN = {303, 401, 403, 404}


def rules_of(site: Site) -> Iterator[tuple[str, Rule]]:
    own = site.guard.application.app.__self__  # type: ignore[union-attr]
    for prefix, flask in (("", own), (FIREWORKS, own.extensions["fireworks"])):
        for rule in flask.url_map.iter_rules():
            yield prefix, rule


def jobs_of(site: Site, campaign: str) -> list[int]:
    return [found["fw_id"] for found in site.project.select("fireworks", {"spec._campaign": campaign})]


def arguments(site: Site, prefix: str, campaign: str) -> dict[str, str | int]:
    """What a route is asked for: something of this campaign, wherever the route can name one."""
    job = jobs_of(site, campaign)[-1]
    candidate = site.project.select("candidates", {"campaign": campaign}, limit=1)[0]["key"]
    named = {"fw_id": job, "wf_id": job, "key": candidate, "name": campaign}
    if prefix == FIREWORKS:
        named |= {"key": "campaign", "value": campaign}
    return VALUES | named


def addresses(site: Site, campaign: str) -> list[tuple[str, str, bool]]:
    """Method, address, and whether the address names the campaign or something of it."""
    found = []
    for prefix, rule in rules_of(site):
        given = arguments(site, prefix, campaign)
        if rule.endpoint == "static":
            given["name"] = "dashboard.js"
        wanted = {name: given[name] for name in rule.arguments}
        built = rule.build({**wanted, **(rule.defaults or {})}, append_unknown=False)
        assert built is not None, rule
        for method in sorted(rule.methods & {"GET", "POST"}):
            names_it = bool(rule.arguments & {"fw_id", "wf_id", "value"}) or (
                "name" in rule.arguments and rule.endpoint != "static"
            )
            found.append((method, f"{prefix}{built[1]}", names_it))
    return found


def test_the_walk_reaches_both_sites(site: Site):
    walked = {address for _, address, _ in addresses(site, SEEN)}
    assert {f"/campaigns/{SEEN}", "/metrics", f"{FIREWORKS}/reports/fireworks/days/7/fig.png"} <= walked
    assert any(address.startswith(f"{FIREWORKS}/fw/") and address.endswith("/details") for address in walked)
    assert len(walked) > 35


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_every_route_needs_a_login(site: Site, accept: str):
    let_in = []
    for method, address, _ in addresses(site, SEEN):
        answer = site.nobody().open(address, method=method, headers={"Host": "localhost", "Accept": accept})
        if address not in OPEN_PATHS and answer.status_code not in {303, 401, 405}:
            let_in.append((method, address, answer.status_code))
        if answer.status_code == 303:
            assert "/login?next=" in answer.headers["Location"]
        assert SEEN not in answer.text.replace(address, "")
    assert let_in == []


def test_every_route_answers_who_may_see_it(site: Site):
    """Else the tests here would be content with routes that are broken."""
    broken = []
    for method, address, _ in addresses(site, SEEN):
        if method == "GET" and not address.endswith(("fig.png", "crystal.json", "/login")):
            answer = site.operator.get(f"{address}?number=1" if address == "/jobs" else address)
            if answer.status_code not in {200, 302, 308}:
                broken.append((address, answer.status_code))
    assert broken == []


def test_no_route_shows_a_campaign_that_is_not_for_the_reader(site: Site):
    shown = []
    keys = [found["key"] for found in site.project.select("candidates", {"campaign": HIDDEN}, limit=5)]
    for method, address, names_it in addresses(site, HIDDEN):
        if method != "GET" or address.endswith("/login"):
            continue
        answer = site.held.get(address)
        text = answer.text if "image" not in answer.content_type else ""
        said = text.replace(address, "").replace(address.removeprefix(FIREWORKS), "")
        if (names_it and answer.status_code not in FORBIDDEN) or HIDDEN in said or any(key in said for key in keys):
            shown.append((address, answer.status_code))
    assert shown == []


def test_no_route_acts_on_a_campaign_that_is_not_for_the_operator(site: Site):
    before = site.project.count("events", {"campaign": HIDDEN})
    csrf = site.held.csrf()
    for method, address, _ in addresses(site, HIDDEN):
        if method == "POST" and address not in {"/login", "/logout"}:
            answer = site.held.client.post(address, data={"csrf": csrf}, headers=site.held.headers)
            assert answer.status_code == 404, address
    assert site.project.count("events", {"campaign": HIDDEN}) == before


def test_no_route_lets_a_viewer_act_or_anybody_without_the_forms_token(site: Site):
    for method, address, _ in addresses(site, SEEN):
        if method == "POST" and address not in {"/login", "/logout"}:
            assert site.viewer.post(address, follow=False).status_code == 403, address
            assert site.operator.client.post(address, headers=site.operator.headers).status_code == 403, address
            assert site.operator.post(address, follow=False, csrf="0" * 64).status_code == 403, address


def test_the_picture_of_the_report_counts_only_what_its_reader_may_see(site: Site, monkeypatch: pytest.MonkeyPatch):
    """FireWorks draws it from the collections themselves, whatever filter is set."""
    from fireworks.features.fw_report import FWReport

    counted: dict[str, int] = {}

    def picture(report: FWReport, coll: str, interval: str, num_intervals: int) -> None:
        counted["jobs"] = sum(entry["count"] for entry in report.get_stats(coll, interval, num_intervals))
        raise ValueError("drawn enough")

    monkeypatch.setattr(FWReport, "plot_stats", picture)
    site.held.get(f"{FIREWORKS}/reports/fireworks/days/7/fig.png")
    assert counted["jobs"] == len(jobs_of(site, SEEN))
    site.operator.get(f"{FIREWORKS}/reports/fireworks/days/7/fig.png")
    assert counted["jobs"] == len(jobs_of(site, SEEN)) + len(jobs_of(site, HIDDEN))
    assert site.held.get(f"{FIREWORKS}/reports/launches/days/7/fig.png").status_code == 404


def test_fireworks_own_filters_neither_widen_nor_run_code(site: Site):
    for query in ('{"spec._campaign": "other-one"}', '{"$or": [{}, {"state": "READY"}]}', '{"$where": "1"}', "no JSON"):
        for field in ("fw_query", "wf_query"):
            answer = site.held.client.get(
                f"{FIREWORKS}/", query_string={field: query}, headers=site.held.headers, follow_redirects=True
            )
            assert answer.status_code == 200
            assert f"{HIDDEN}/" not in answer.text


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ('{"name": {"$regex": "^(([a-z0-9A-Z/_-])+)+Q$"}}', "$regex takes plain text here"),
        ('{"$or": [{"name": {"$not": {"$regex": "(a|a)*b"}}}]}', "$regex takes plain text here"),
        ('{"$expr": {"$regexMatch": {"input": "$name", "regex": "(a+)+$"}}}', "$regexMatch is refused: $regex takes"),
        ('{"$where": "1"}', "the operator $where runs code"),
    ],
)
def test_a_filter_that_would_hold_up_every_page_is_refused_with_the_reason(site: Site, query: str, why: str):
    for field in ("fw_query", "wf_query"):
        answer = site.viewer.client.get(
            f"{FIREWORKS}/", query_string={field: query}, headers=site.viewer.headers, follow_redirects=True
        )
        assert answer.status_code == 200
        assert why in html.unescape(answer.text)


def test_plain_text_is_looked_for_in_fireworks_names(site: Site):
    query = '{"name": {"$regex": "^trial/label"}}'
    site.viewer.client.get(f"{FIREWORKS}/", query_string={"fw_query": query}, headers=site.viewer.headers)
    answer = site.viewer.get(f"{FIREWORKS}/fw/")
    assert "trial/label" in answer.text
    assert "trial/reference" not in answer.text


def test_fireworks_site_cannot_be_written_to(site: Site):
    from cathodeflow.web.fireworks_site import narrowed_launchpad

    launchpad = narrowed_launchpad(site.project, (SEEN,))
    with pytest.raises(AttributeError):
        launchpad.fireworks.update_one({}, {"$set": {"state": "READY"}})
    assert site.operator.client.post(f"{FIREWORKS}/", headers=site.operator.headers).status_code == 405


def test_fireworks_pages_load_nothing_from_elsewhere(site: Site):
    job = jobs_of(site, SEEN)[0]
    for path in ("/", f"/fw/{job}", f"/wf/{job}", "/static/css/flat-ui.css"):
        text = site.operator.get(f"{FIREWORKS}{path}").text
        assert "//code.jquery" not in text
        assert "fonts.googleapis" not in text
    page = site.operator.get(f"{FIREWORKS}/wf/{job}").text
    assert 'src="/static/vendor/jquery-3.7.1.min.js"' in page
    assert f'getJSON("{FIREWORKS}/wf/' in site.operator.get(f"{FIREWORKS}/static/js/wf_cyto.js").text


def test_fireworks_pages_lead_back_to_ours_and_hold_no_script_that_our_policy_stops(site: Site):
    for path in ("/", f"/fw/{jobs_of(site, SEEN)[0]}", "/fw/COMPLETED/", "/wf/COMPLETED/", "/report/"):
        text = site.operator.get(f"{FIREWORKS}{path}").text
        assert '<a href="/">cathodeflow</a>' in text, path
        assert not re.search(r"<[^>]+ on[a-z]+=", text), path


def test_pages_of_a_search_by_metadata_do_not_overlap(site: Site):
    """FireWorks itself skips rows by the number of the page: its first two pages share 19 of 20."""
    from fireworks.flask_site.app import PER_PAGE

    total = len(site.project.select("workflows", {"metadata.campaign": SEEN}))
    assert total > PER_PAGE
    seen: list[str] = []
    for page in range(1, -(-total // PER_PAGE) + 1):
        text = site.operator.get(f"{FIREWORKS}/wf/metadata/campaign/{SEEN}/?page={page}").text
        seen += sorted(set(re.findall(rf'href="{FIREWORKS}/wf/(\d+)"', text)))
    assert len(seen) == total
    assert len(set(seen)) == total
