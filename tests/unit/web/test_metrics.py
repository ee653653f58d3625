from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.web.conftest import HIDDEN, SEEN, Site

from cathodeflow.web.charts import nice_ticks, throughput_chart
from cathodeflow.web.metrics import exposition
from cathodeflow.web.throughput import BARS, BATCH, Ledger

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*,?)?\}})? (\S+)")
ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}
Family = dict[tuple[tuple[str, str], ...], float]


def parsed(text: str) -> dict[str, Family]:
    """Read Prometheus' text format as its specification has it; whatever it forbids fails."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    found: dict[str, Family] = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            word, name, rest = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line).groups()  # type: ignore[union-attr]
            assert name not in found, "comments stand before the samples"
            if word == "TYPE":
                assert name not in kinds
                assert rest in {"counter", "gauge"}
                assert (rest == "counter") == name.endswith("_total")
                kinds[name] = rest
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        name = sample[1]
        assert name in kinds
        assert name not in found or name == list(found)[-1], "samples of a name stand together"
        pairs = re.findall(LABEL, sample[2] or "")
        labels = tuple((key, re.sub(r"\\(.)", lambda hit: ESCAPES[hit[1]], value)) for key, value in pairs)
        assert len({key for key, _ in labels}) == len(labels)
        family = found.setdefault(name, {})
        assert labels not in family, "a sample stands once"
        family[labels] = float(sample[sample.lastindex or 0])
    return found


def metrics(site: Site, token: str) -> str:
    answer = site.nobody().get(
        "/metrics", headers={"Host": "localhost", "Authorization": f"Bearer {site.tokens[token]}"}
    )
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return answer.text


def test_the_counts_are_those_of_the_store(site: Site):
    found = parsed(metrics(site, "prometheus"))
    done = sum(value for labels, value in found["cathodeflow_jobs"].items() if ("state", "COMPLETED") in labels)
    assert done == site.project.count("fireworks", {"spec._campaign": SEEN, "state": "COMPLETED"})
    assert found["cathodeflow_campaign_state"][("campaign", SEEN), ("state", "done")] == 1
    failed = sum(found["cathodeflow_failed_attempts_total"].values())
    assert failed == site.project.count("attempts", {"campaign": SEEN})
    core_s = sum(found["cathodeflow_core_seconds_total"].values())
    assert core_s == pytest.approx(sum(site.ledger.account(SEEN).core_s.values()))


def test_a_token_held_to_a_campaign_counts_no_other(site: Site):
    assert HIDDEN not in metrics(site, "prometheus")
    assert HIDDEN in metrics(site, "script")


def test_every_campaign_is_in_what_prometheus_reads(site: Site):
    found = parsed(metrics(site, "script"))
    named = {value for family in found.values() for labels in family for key, value in labels if key == "campaign"}
    assert named == {SEEN, HIDDEN}


@given(st.dictionaries(st.text(min_size=1, max_size=30), st.floats(0, 1e12), min_size=1, max_size=5))
def test_names_of_any_letters_are_read_back_as_they_were(values: dict[str, float]):
    samples = [("jobs", {"campaign": name, "state": "READY"}, value) for name, value in values.items()]
    found = parsed(exposition(samples))["cathodeflow_jobs"]
    assert {labels[0][1]: value for labels, value in found.items()} == pytest.approx(values, rel=1e-9)


def test_the_running_sums_count_every_launch_once(site: Site):
    ledger = Ledger(site.project)
    ledger.advance()
    ledger.advance()
    assert ledger.complete
    for name in (SEEN, HIDDEN):
        account = ledger.account(name)
        ids = {found["fw_id"] for found in site.project.select("fireworks", {"spec._campaign": name})}
        launches = [found for found in site.project.select("launches", {}) if found["fw_id"] in ids]
        ended = [found["state"] for found in launches if found["state"] in {"COMPLETED", "FIZZLED"}]
        assert sum(account.completed.values()) == ended.count("COMPLETED")
        assert sum(account.failed.values()) == ended.count("FIZZLED")
        assert sum(bar.completed for bar in ledger.bars(name)) == ended.count("COMPLETED")


class Launches:
    """A project with launches only, which may change."""

    def __init__(self, number: int) -> None:
        self.start = datetime(2026, 1, 1, tzinfo=UTC)
        self.launches = [self.launch(n, "RUNNING" if n % 7 == 0 else "COMPLETED") for n in range(number)]

    def launch(self, number: int, state: str) -> dict:
        ended = (self.start + timedelta(minutes=number)).isoformat() if state != "RUNNING" else None
        return {"launch_id": number, "fw_id": 1, "state": state, "time_end": ended, "runtime_secs": 60.0}

    def select(self, collection: str, condition: dict, sort: object = (), limit: int = 0) -> list[dict]:
        if collection == "fireworks":
            return [{"fw_id": 1, "spec": {"_campaign": "c", "_category": "cpu"}}]
        asked = condition["launch_id"]
        if "$in" in asked:
            return [found for found in self.launches if found["launch_id"] in asked["$in"]]
        return [found for found in self.launches if found["launch_id"] > asked["$gt"]][:limit]


def test_a_launch_that_ends_later_is_counted_then():
    project = Launches(2 * BATCH + 10)
    ledger = Ledger(project)  # type: ignore[arg-type]
    ledger.advance()
    running = [found["launch_id"] for found in project.launches if found["state"] == "RUNNING"]
    assert sum(ledger.account("c").completed.values()) == 2 * BATCH + 10 - len(running)
    project.launches = [project.launch(n, "COMPLETED") for n in range(2 * BATCH + 10)]
    ledger.advance()
    assert sum(ledger.account("c").completed.values()) == 2 * BATCH + 10
    assert ledger.account("c").core_s["cpu"] == 60.0 * (2 * BATCH + 10)
    bars = ledger.bars("c", project.start + timedelta(minutes=2 * BATCH + 10))
    assert len(bars) <= BARS
    assert sum(bar.completed for bar in bars) == 2 * BATCH + 10
    assert ledger.per_hour("c", project.start + timedelta(minutes=100)) == 60


@given(st.floats(1e-6, 1e9))
def test_ticks_reach_just_beyond_the_highest_value(high: float):
    ticks = nice_ticks(high)
    assert ticks[0] == 0
    assert ticks[-2] < high * (1 + 1e-6)
    assert ticks[-1] >= high * (1 - 1e-6)
    assert 3 <= len(ticks) <= 8


def test_a_chart_of_nothing_is_nothing():
    assert throughput_chart([]) == ""
