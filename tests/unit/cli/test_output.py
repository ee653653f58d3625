from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.cli.output import duration, plain, print_json, print_table, size, text_of, write_text
from cathodeflow.errors import StoreError


def test_json_has_no_nan_and_times_are_utc(capsys: pytest.CaptureFixture[str]):
    print_json({"a": math.nan, "b": [math.inf], "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "p": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None], "at": "2026-01-02T03:04:05.000Z", "p": "x"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_plain_is_json(value):
    json.dumps(plain(value), allow_nan=False)


def test_a_piped_table_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]):
    long = "x" * 300
    print_table(["name", "number"], [[long, 1.5], ["b", None]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "number"]
    assert lines[1].split() == [long, "1.5000"]
    assert lines[2].split() == ["b", "-"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h"), (None, "-")],
)
def test_durations_in_words(seconds: float | None, words: str):
    assert duration(seconds) == words


def test_sizes_and_values_in_words():
    assert size(512) == "512 B"
    assert size(3 * 1024**2) == "3.0 MiB"
    assert text_of(None) == "-"
    assert text_of(True) == "yes"
    assert text_of({"V21": 3.5}) == '{"V21": 3.5}'


def test_a_file_is_written_whole_or_the_reason_said(tmp_path: Path):
    write_text(tmp_path / "new" / "file", "text")
    assert (tmp_path / "new" / "file").read_text() == "text"
    with pytest.raises(StoreError, match="cannot write"):
        write_text(tmp_path / "new" / "file" / "below", "text")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
