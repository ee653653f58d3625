"""What `status` says of a campaign, held against every document there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from cathodeflow.campaign.status import StatusReport, read_status
from cathodeflow.storage.connection import Project


def assert_adds_up(project: Project, name: str = "trial") -> StatusReport:
    """Read where the campaign stands and count all that it says anew, one document at a time."""

    def documents(collection: str, field: str = "campaign") -> list[dict[str, Any]]:
        return list(project.database[collection].find({field: name}))

    said = read_status(project, name)
    jobs, labels = documents("fireworks", "spec._campaign"), {d["key"]: d for d in documents("labels")}
    assert said.jobs == dict(Counter(job["state"] for job in jobs))
    undecided = [
        job["spec"]["_key"]
        for job in jobs
        if job["state"] == "FIZZLED" and job["spec"]["_kind"] == "label" and job["spec"]["_key"] not in labels
    ]
    counted = Counter(d["outcome"] for d in labels.values())
    expected = {"done": counted["done"], "quarantined": counted["quarantined"], "failed": len(undecided)}
    assert {word: said.labels[word] for word in expected} == expected
    assert said.candidates == len(documents("candidates"))
    assert said.attempts == len(documents("attempts"))
    document = project.database["campaigns"].find_one({"_id": name})
    if document["stage"] == "label":
        chosen = document["selections"][str(document["round"])]
        assert said.progress == (sum(key in labels for key in chosen), len(chosen))
    at_once = read_status(project, name, beside=True)
    assert replace(at_once, elapsed_s=0.0, eta_s=None) == replace(said, elapsed_s=0.0, eta_s=None)
    return said
