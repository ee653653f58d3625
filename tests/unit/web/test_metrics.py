from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.web.conftest import HIDDEN, SEEN, Site

from cathodeflow.web.charts import nice_ticks, throughput_chart
from cathodeflow.web.metrics import exposition
from cathodeflow.web.throughput import BARS, BATCH, Ledger

SAMPLE = re.compile(r'^(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+)$')


def metrics(site: Site, token: str) -> str:
    answer = site.nobody().get(
        "/metrics", headers={"Host": "localhost", "Authorization": f"Bearer {site.tokens[token]}"}
    )
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return answer.text


def test_the_counts_are_those_of_the_store(site: Site):
    text = metrics(site, "prometheus")
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    done = sum(v for k, v in found.items() if k.startswith("cathodeflow_jobs{") and 'state="COMPLETED"' in k)
    assert done == site.project.count("fireworks", {"spec._campaign": SEEN, "state": "COMPLETED"})
    assert found[f'cathodeflow_campaign_state{{campaign="{SEEN}",state="done"}}'] == 1
    failed = sum(v for k, v in found.items() if k.startswith("cathodeflow_failed_attempts_total"))
    assert failed == site.project.count("attempts", {"campaign": SEEN})


def test_a_token_held_to_a_campaign_counts_no_other(site: Site):
    assert HIDDEN not in metrics(site, "prometheus")
    assert HIDDEN in metrics(site, "script")


def test_every_line_is_as_prometheus_reads_it(site: Site):
    lines = metrics(site, "script").splitlines()
    assert all(line.startswith("# ") or SAMPLE.match(line) for line in lines)
    kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds))


@given(st.text(min_size=1, max_size=30), st.floats(0, 1e12))
def test_a_name_of_any_letters_stays_within_its_quotes(name: str, value: float):
    lines = exposition([("jobs", {"campaign": name}, value)]).rstrip("\n").split("\n")
    assert len(lines) == 3
    assert SAMPLE.match(lines[2])


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
