from __future__ import annotations

import html
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.counted_queries import counted_methods
from tests.large_campaign import FAILED_EVERY, NAME, fill, key_of
from tests.unit.web.conftest import HIDDEN, SEEN, Site, make_site

from cathodeflow.dispatch.jobs import LOG_NAME, firework_details
from cathodeflow.records.crystal import Crystal
from cathodeflow.storage.connection import create_project, open_project
from cathodeflow.web import lists
from cathodeflow.web.campaign_page import failures
from cathodeflow.web.candidate_page import drawn


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_list_of_campaigns_names_those_one_may_see(site: Site):
    assert {SEEN, HIDDEN} <= set(text_of(site.viewer.get("/").text).split())
    assert HIDDEN not in site.held.get("/").text


def test_a_campaign_at_a_glance_agrees_with_the_store(site: Site):
    page = site.viewer.get(f"/campaigns/{SEEN}").text
    said = text_of(page)
    mine = {"campaign": SEEN}
    assert f"{site.project.count('candidates', mine):,}".replace(",", "\N{THIN SPACE}") + " candidates" in said
    failed = site.project.count("attempts", mine)
    assert failed > 0
    assert re.search(rf"calculation error {failed} ", said) or "energy or force not finite" in said
    example = site.project.select("attempts", mine, limit=1)[0]
    assert f'href="/jobs/{example["fw_id"]}"' in page
    judged = site.project.count("verdicts", mine | {"round": 1})
    assert f"Compositions judged {judged}" in said
    for stage in ("enumerate", "label", "train", "predict", "screen", "validate", "follow up", "done"):
        assert stage in said
    assert "core-hours" in said
    assert page.count('<svg class="chart"') == 2


def test_what_was_given_up_without_a_failed_attempt_is_among_the_failures(site: Site):
    """The branches of a static run that was given up: they never started."""
    found = {entry["reason"]: entry for entry in failures(site.project, SEEN)}
    quarantined = [
        document["reason"]
        for collection in ("labels", "follow_ups")
        for document in site.project.select(collection, {"campaign": SEEN, "outcome": "quarantined"})
    ]
    assert {reason: entry["given_up"] for reason, entry in found.items()} == Counter(quarantined)
    assert found["prerequisite_failed"]["count"] == 0
    assert found["calculation_error"]["count"] == site.project.count("attempts", {"reason": "calculation_error"})
    (example, *_) = found["prerequisite_failed"]["examples"]
    assert (example["action"], len(found["prerequisite_failed"]["examples"])) == ("quarantine", 3)
    page = site.operator.get(f"/campaigns/{SEEN}").text
    assert example["key"] in page
    assert 'name="reason" value="prerequisite_failed"' in page


def test_the_jobs_by_category_add_up_to_all_jobs(site: Site):
    from cathodeflow.web.campaign_page import job_counts, jobs_by_category

    states = job_counts(site.project, SEEN)
    table = jobs_by_category(site.project, SEEN, states)
    assert {state: sum(counts.get(state, 0) for counts in table.values()) for state in states} == states


def rows(page: str) -> list[str]:
    return [text_of(row) for row in re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>", 1)[-1], re.DOTALL)]


@pytest.mark.parametrize(
    "query", ["state=COMPLETED", "kind=label", "kind=label&state=FIZZLED", "category=gpu", "kind=train&category=gpu"]
)
def test_a_filter_of_the_jobs_gives_just_those(site: Site, query: str):
    wanted = dict(part.split("=") for part in query.split("&"))
    fields = {"state": "state", "kind": "spec._kind", "category": "spec._category"}
    condition = {"spec._campaign": SEEN} | {fields[name]: value for name, value in wanted.items()}
    expected = site.project.database["fireworks"].count_documents(condition)
    assert expected > 0
    listed, page = 0, 1
    while found := rows(site.viewer.get(f"/campaigns/{SEEN}/jobs?{query}&page={page}").text):
        listed, page = listed + len(found), page + 1
    assert listed == expected


def test_a_job_is_found_by_its_key_and_by_its_number(site: Site):
    job = site.project.select("fireworks", {"spec._campaign": SEEN, "spec._kind": "follow_up"}, limit=1)[0]
    for key in (job["spec"]["_key"], str(job["fw_id"])):
        found = rows(site.viewer.get(f"/campaigns/{SEEN}/jobs?key={key}").text)
        assert [row.split()[0] for row in found] == [str(job["fw_id"])]
    assert site.viewer.get(f"/jobs?number={job['fw_id']}").headers["Location"] == f"/jobs/{job['fw_id']}"


def test_the_page_of_a_failed_job_says_what_was_considered_and_shows_its_log(site: Site):
    attempt = site.project.select("attempts", {"campaign": SEEN, "kind": "label"}, limit=1)[0]
    # Jobs of this process print to the test's own output.
    folder = firework_details(site.project, attempt["fw_id"]).launches[-1].directory
    (folder / LOG_NAME).write_text("Starting job <b>x</b>")
    said = text_of(site.viewer.get(f"/jobs/{attempt['fw_id']}").text)
    assert attempt["message"] in said
    assert "; ".join(attempt["considered"]) in said
    assert "quarantine" in said
    assert "Starting job <b>x</b>" in said
    assert "attempt 2" in said
    assert re.search(r", process \d+", said)


def test_custodians_corrections_and_the_slurm_number_are_shown(site: Site, monkeypatch: pytest.MonkeyPatch):
    from cathodeflow.campaign.launch_files import RunFiles
    from cathodeflow.web import job_page

    done = {"handler": "VaspErrorHandler", "errors": ["brmix"], "changes": ["INCAR ISTART = 1"]}
    monkeypatch.setattr(job_page, "read_run", lambda _: RunFiles(1, "", {"relax 1": [done]}))
    assert job_page.slurm_id({"slurm_job_id": "7", "slurm_array_job_id": "5", "slurm_array_task_id": "3"}) == "5_3"
    assert job_page.slurm_id({"slurm_job_id": "7"}) == "7"
    job = site.project.select("fireworks", {"spec._campaign": SEEN, "state": "COMPLETED"}, limit=1)[0]
    said = text_of(site.viewer.get(f"/jobs/{job['fw_id']}").text)
    assert "VaspErrorHandler saw brmix: changed INCAR ISTART = 1" in said


def test_the_page_of_a_candidate_tells_its_whole_story(site: Site):
    validation = next(
        found
        for found in site.project.select("validations", {"campaign": SEEN})
        if found["labels"] and not found["pristine"]
    )
    level, key = next(iter(validation["labels"].items()))
    page = site.viewer.get(f"/campaigns/{SEEN}/candidates/{key}").text
    said = text_of(page)
    verdict = site.project.get("verdicts", f"{SEEN}/r1/{validation['composition']}")
    for rule in verdict["rules"]:
        assert rule["rule"].replace("_", " ").split()[-1] in said
    label = site.project.get("labels", f"{SEEN}/{key}")
    assert label["origin"]["provenance"] in said
    assert f'href="/jobs/{label["origin"]["fw_id"]}"' in page
    assert "±" in said
    assert f"at {level}" in said
    followed = [found for found in site.project.select("follow_ups", {"campaign": SEEN}) if found["key"] == key]
    assert all(found["branch"] in said for found in followed)


def test_the_viewer_gets_the_atoms_of_the_label(site: Site):
    label = next(found for found in site.project.select("labels", {"campaign": SEEN}) if found["relaxation"])
    address = f"/campaigns/{SEEN}/candidates/{label['key']}/crystal.json"
    relaxed, unrelaxed = (site.viewer.get(f"{address}?which={which}").json for which in ("relaxed", "unrelaxed"))
    crystal = label["relaxation"]["crystal"]
    assert relaxed["lattice"] == crystal["lattice"]
    assert [atom[0] for atom in relaxed["atoms"]] == crystal["species"]
    # The lawful relaxation moves nothing: both ways to make the crystal must agree.
    assert unrelaxed["atoms"] == relaxed["atoms"]
    failed = next(found for found in site.project.select("labels", {"campaign": SEEN}) if not found["relaxation"])
    address = f"/campaigns/{SEEN}/candidates/{failed['key']}/crystal.json"
    assert site.viewer.get(address).status_code == 404
    assert site.viewer.get(f"{address}?which=unrelaxed").status_code == 200


def test_atoms_outside_the_cell_are_brought_into_it():
    crystal = Crystal(
        lattice=[[3, 0, 0], [0, 3, 0], [0, 0, 3]], species=["O"], fractional_coordinates=[[-0.25, 1.5, 0]]
    )
    assert drawn(crystal)["atoms"] == [["O", 0.75, 0.5, 0.0]]


def test_the_compositions_can_be_narrowed(site: Site):
    for query, condition in (
        ("outcome=passed", {"passed": True}),
        ("outcome=rejected", {"passed": False}),
        ("metals=noble", {"noble": True}),
        ("element=Mo", {"elements": "Mo"}),
    ):
        expected = site.project.database["verdicts"].count_documents({"campaign": SEEN, "round": 1} | condition)
        assert len(rows(site.viewer.get(f"/campaigns/{SEEN}/compositions?{query}").text)) == expected, query


def test_a_living_page_gives_its_parts_and_says_when_nothing_changed(site: Site):
    answer = site.viewer.get(f"/campaigns/{SEEN}?parts=1")
    page = site.viewer.get(f"/campaigns/{SEEN}").text
    assert set(answer.json["parts"]) == set(re.findall(r'data-part="(\w+)"', page))
    again = site.viewer.get(f"/campaigns/{SEEN}?parts=1", **{"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


BAD = [
    "/campaigns/none",
    "/campaigns/trial/jobs?state=NONSENSE",
    "/campaigns/trial/jobs?page=0",
    "/campaigns/trial/jobs?page=99999999999999999999",
    "/campaigns/trial/jobs?page=%C2%B2",
    "/campaigns/trial/jobs?kind[$ne]=x&kind={}",
    "/campaigns/trial/jobs?key=%00",
    "/campaigns/trial/compositions?round=-1",
    "/campaigns/trial/candidates?composition=" + "x" * 300,
    "/campaigns/trial/candidates/none",
    "/campaigns/trial/candidates/none/crystal.json",
    "/campaigns/trial/candidates/..%2f..%2fetc/crystal.json",
    "/jobs/99999999999999999999999",
    "/jobs/0",
    "/jobs?number=x",
    "/static/../access.py",
    "/static/%2e%2e/access.py",
    "/fireworks/fw/99999999",
    "/fireworks/fw/99999999/details",
    "/fireworks/wf/99999999",
    "/fireworks/wf/99999999/json",
    "/fireworks/fw/COMPLETED/_id/SIDEWAYS/",
    "/fireworks/report/eons/3/",
    "/fireworks/reports/nothing/days/3/fig.png",
]


@pytest.mark.parametrize("address", BAD)
def test_what_cannot_be_answered_is_one_clear_sentence(site: Site, address: str):
    answer = site.operator.get(address)
    assert 400 <= answer.status_code < 500, answer.status_code
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("value", ['{"$gt": ""}', "<script>alert(1)</script>", "'; drop table", "$where", "🙂"])
def test_what_is_typed_into_a_filter_is_a_value_and_nothing_else(site: Site, value: str):
    for path, field in (("jobs", "key"), ("jobs", "category"), ("compositions", "rule"), ("candidates", "composition")):
        answer = site.viewer.client.get(
            f"/campaigns/{SEEN}/{path}", query_string={field: value}, headers=site.viewer.headers
        )
        assert answer.status_code == 200
        assert not re.search(r'<td[^>]*><a href="/(jobs|campaigns/[^/]+/candidates)/', answer.text)
        assert "<script>alert" not in answer.text


MOST_QUERIES = 50  # FireWorks' home page; our own ask at most 35 times


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """The same campaign small and ten times as large."""
    made = []
    for jobs in (120, 1200):
        folder = tmp_path_factory.mktemp(f"jobs-{jobs}")
        fill(create_project(folder), jobs, jobs)
        made.append(make_site(open_project(folder), folder))
    return made


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/campaigns/{NAME}",
        f"/campaigns/{NAME}?parts=1",
        f"/campaigns/{NAME}/jobs",
        f"/campaigns/{NAME}/jobs?state=COMPLETED&category=gpu&page=2",
        f"/campaigns/{NAME}/jobs?key={key_of(7)}",
        f"/campaigns/{NAME}/compositions",
        f"/campaigns/{NAME}/compositions?outcome=passed&element=Cu",
        f"/campaigns/{NAME}/candidates?level=Na3",
        f"/campaigns/{NAME}/candidates/{key_of(1)}",
        f"/campaigns/{NAME}/log",
        f"/jobs/{FAILED_EVERY}",
        "/metrics",
        "/fireworks/fw/",
        "/fireworks/",
    ],
)
def test_a_page_asks_no_more_of_a_larger_project(sizes: list[Site], path: str):
    asked = []
    for site in sizes:
        with counted_methods(site.project) as found:
            assert site.operator.get(path).status_code == 200
        asked.append(found.total())
    assert asked[1] <= asked[0] + 12  # more reasons of failures have occurred, more states
    assert 0 < asked[1] <= MOST_QUERIES


def test_every_page_of_a_rehearsed_campaign_says_so_and_no_other(world: Path, site: Site, tmp_path: Path):
    project = open_project(shutil.copytree(world, tmp_path / "rehearsed"))
    project.database["campaigns"].update_one({"_id": SEEN}, {"$set": {"provenance": "rehearsal:pair:s0_relax"}})
    rehearsed = make_site(project, tmp_path)
    job = project.select("fireworks", {"spec._campaign": SEEN}, limit=1)[0]["fw_id"]
    key = project.select("labels", {"campaign": SEEN}, limit=1)[0]["key"]
    own = [f"/campaigns/{SEEN}{page}" for page in ("", "/jobs", "/compositions", "/candidates", "/log")]
    own += [f"/campaigns/{SEEN}/candidates/{key}", f"/jobs/{job}"]
    for path in own:
        answer = rehearsed.viewer.get(path)
        assert answer.status_code == 200, path
        assert "REHEARSAL" in answer.text, path
        assert "REHEARSAL" not in site.viewer.get(path).text, path
    assert "REHEARSAL" not in rehearsed.viewer.get(f"/campaigns/{HIDDEN}").text


def test_no_table_makes_a_narrow_page_wider():
    """Each scrolls by itself, or is of a kind whose cells the style sheet puts under each other there."""
    folder = Path(lists.__file__).parent
    style = (folder / "static" / "dashboard.css").read_text(encoding="utf-8")
    assert re.search(r"@media \(max-width: 700px\) \{[^@]*\.plainlog td[^}]*display: block", style)
    found = [
        (path.name, before, classes)
        for path in (folder / "templates").rglob("*.html")
        for before, classes in re.findall(r"(.{0,20})<table([^>]*)>", path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 10
    kept = ('class="plainlog"', 'class="funnel"')  # the latter has bars that give way
    assert [one for one in found if not one[1].endswith('<div class="scroll">') and one[2].strip() not in kept] == []
