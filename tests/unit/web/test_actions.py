from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, launch, work_one
from tests.unit.web.conftest import SEEN, Site, make_site

from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.transitions import read_campaign
from cathodeflow.dispatch.jobs import firework_details
from cathodeflow.records.outcomes import CampaignState


def audit(site: Site) -> list[dict]:
    return [event["details"] for event in site.project.select("events", {"campaign": SEEN, "kind": "dashboard"})]


def failed_job(site: Site) -> tuple[int, str]:
    label = site.project.select("labels", {"campaign": SEEN, "outcome": "quarantined"})[0]
    return label["origin"]["fw_id"], label["key"]


@pytest.fixture
def running(tmp_path: Path) -> Site:
    """The dashboard of a campaign whose labels wait to be computed."""
    project = launch(tmp_path, definition(SEEN))
    for _ in range(6):
        advance(project, SEEN, LAWFUL)
        if project.select("fireworks", {"spec._kind": "label", "state": "READY"}, limit=1):
            return make_site(project, tmp_path)
        while work_one(project):
            pass
    raise AssertionError("no label waits")


def test_an_operator_pauses_and_resumes_and_the_log_says_who(running: Site):
    answer = running.operator.post(f"/campaigns/{SEEN}/pause")
    assert f"{SEEN} is paused" in answer.text
    assert read_campaign(running.project, SEEN).state == CampaignState.PAUSED
    assert "Resume" in answer.text
    running.operator.post(f"/campaigns/{SEEN}/resume")
    assert read_campaign(running.project, SEEN).state == CampaignState.RUNNING
    assert [(entry["account"], entry["action"], entry["outcome"]) for entry in audit(running)] == [
        ("olga", "pause", "done"),
        ("olga", "resume", "done"),
    ]
    assert "olga: pause" in running.viewer.get(f"/campaigns/{SEEN}/log").text


def test_a_job_is_held_and_released(running: Site):
    (job,) = running.project.select("fireworks", {"spec._kind": "label", "state": "READY"}, limit=1)
    address = f"/jobs/{job['fw_id']}"
    assert "Hold this job" in running.operator.get(address).text
    assert "Hold this job" not in running.viewer.get(address).text
    assert "is held" in running.operator.post(f"{address}/hold", back=address).text
    assert firework_details(running.project, job["fw_id"]).job.state == "PAUSED"
    running.operator.post(f"{address}/release")
    assert firework_details(running.project, job["fw_id"]).job.state == "READY"
    assert "was not held" in running.operator.post(f"{address}/release").text
    assert [entry["fw_id"] for entry in audit(running)] == [job["fw_id"]] * 3


def test_a_failed_job_is_resubmitted_from_its_page_with_more_memory_and_taken_back(failing: Site):
    fw_id, key = failed_job(failing)
    assert "Resubmit" in failing.operator.get(f"/jobs/{fw_id}").text
    form = {"kind": "label", "key": key, "memory": "2", "time": "", "back": f"/jobs/{fw_id}"}
    answer = failing.operator.post(f"/campaigns/{SEEN}/resubmit", **form)
    assert "1 resubmitted" in answer.text
    assert firework_details(failing.project, fw_id).job.state == "READY"
    assert failing.project.select("fireworks", {"fw_id": fw_id})[0]["spec"]["_memory_factor"] == 2.0
    page = failing.operator.get(f"/campaigns/{SEEN}").text
    assert "Take back the last resubmission" in page
    failing.operator.post(f"/campaigns/{SEEN}/undo")
    assert firework_details(failing.project, fw_id).job.state == "FIZZLED"
    assert failing.project.get("labels", f"{SEEN}/{key}") is not None
    assert "Take back the last resubmission" not in failing.operator.get(f"/campaigns/{SEEN}").text
    first, second = audit(failing)
    assert (first["account"], first["key"], first["memory"]) == ("olga", key, 2.0)
    assert second["action"] == "take back a resubmission"


def test_failures_of_a_reason_are_resubmitted_together(failing: Site):
    number = failing.project.count("labels", {"campaign": SEEN, "purpose": "training", "outcome": "quarantined"})
    assert number > 0
    answer = failing.operator.post(f"/campaigns/{SEEN}/resubmit", reason="calculation_error")
    assert f"{number} resubmitted" in answer.text


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"reason": "bad luck"}, 200, "is no reason of a failure"),
        ({"kind": "label", "key": "nothing"}, 200, "nothing was resubmitted"),
        ({"memory": "1e9"}, 400, "memory is none of"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(failing: Site, form: dict, status: int, said: str):
    states = failing.project.count_by("fireworks", "state", {"spec._campaign": SEEN})
    answer = failing.operator.post(f"/campaigns/{SEEN}/resubmit", **form)
    assert answer.status_code == status
    assert said in answer.text
    assert failing.project.count_by("fireworks", "state", {"spec._campaign": SEEN}) == states


def test_a_refused_action_is_in_the_log_too(failing: Site):
    failing.operator.post(f"/campaigns/{SEEN}/undo")
    (entry,) = audit(failing)
    assert entry["outcome"] == "refused"


def test_a_form_leads_back_to_our_own_pages_only(failing: Site):
    answer = failing.operator.post(f"/campaigns/{SEEN}/resume", follow=False, back="https://evil.example/")
    assert answer.headers["Location"] == "/"


def test_a_script_acts_with_a_token_and_no_form(failing: Site):
    headers = {"Host": "localhost", "Authorization": f"Bearer {failing.tokens['script']}"}
    answer = failing.nobody().post(f"/campaigns/{SEEN}/resume", headers=headers)
    assert answer.status_code == 302
    assert audit(failing)[0]["account"] == "script"
