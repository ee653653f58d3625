"""`cflow query --by`: counts in place of documents."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cathodeflow.storage.connection import open_project

Cflow = Callable[..., Any]


def test_counts_are_printed_in_each_format(cflow: Cflow, finished: Path):
    counted = Counter(d["level"] for d in open_project(finished).database["labels"].find())
    asked = ("query", "labels", "--by", "level", "--of", "relaxation.wall_s", "-p", finished)
    table = [line.split() for line in cflow(*asked).stdout.splitlines()]
    assert table[0][:2] == ["level", "n"]
    assert {row[0]: int(row[1]) for row in table[1:]} == counted
    rows = list(csv.DictReader(io.StringIO(cflow(*asked, "--format", "csv").stdout)))
    assert {row["level"]: int(row["n"]) for row in rows} == counted
    assert {row["mean of relaxation.wall_s"] for row in rows} == {"1.0"}
    told = json.loads(cflow(*asked, "--format", "json").stdout)
    assert {row["level"]: row["sum of relaxation.wall_s"] for row in told} == counted
    lines = cflow(*asked, "--format", "jsonl", "--limit", "1").stdout.splitlines()
    assert [json.loads(line)["n"] for line in lines] == [max(counted.values())]


def test_nothing_to_count_is_said(cflow: Cflow, finished: Path):
    result = cflow("query", "labels", '{"level": "Na9"}', "--by", "level", "-p", finished)
    assert result.exit_code == 0
    assert "nothing in labels matches" in result.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--of", "x"), "needs --by"),
        (("--by", "level", "--count"), "goes with neither"),
        (("--by", "level", "--sort", "level"), "goes with neither"),
        (("--by", "level", "--fields", "key"), "goes with neither"),
        (("--by", " , "), "names no field"),
    ],
)
def test_what_would_have_no_effect_is_refused(cflow: Cflow, finished: Path, options: tuple[str, ...], why: str):
    result = cflow("query", "labels", *options, "-p", finished)
    assert result.exit_code == 2
    assert why in result.stderr


@pytest.mark.parametrize("collection", ["campaigns", "withdrawn", "fireworks", "launches", "follow_ups"])
def test_every_collection_of_a_campaign_can_be_asked(cflow: Cflow, finished: Path, collection: str):
    held = open_project(finished).count(collection)
    assert cflow("query", collection, "--count", "-p", finished).stdout.split() == [str(held)]
    if collection != "launches":
        counted = cflow("query", collection, "--count", "-c", "trial", "-p", finished)
        assert counted.stdout.split() == [str(held)]
