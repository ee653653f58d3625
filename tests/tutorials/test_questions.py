"""The page of questions to the store, followed block by block on a campaign whose answers are known by law."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest
from tests import demo_store as law
from tests.services.mongo_server import MongoServer
from tests.stores import Stores
from typer.testing import CliRunner

import cathodeflow
from cathodeflow.cli.app import build_app
from cathodeflow.storage.connection import open_project, open_target
from cathodeflow.storage.migrate import migrate

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "query_with_pymongo.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Section:
    """One question with its blocks in order."""

    title: str
    blocks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answered:
    """What a section printed, the text of each block, and the names Python knows after it."""

    python: list[str]
    sh: list[str]
    names: dict[str, Any]


def sections() -> list[Section]:
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [Section(part.splitlines()[0], tuple(FENCE.findall(part))) for part in parts]


def run_python(text: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, PAGE.name, "exec"), names)
    return printed.getvalue()


def run_sh(text: str) -> str:
    """Run commands here, one by one; blocks with more shell to them in bash."""
    lines = text.splitlines()
    if all(line.startswith("cflow ") for line in lines):
        printed = ""
        for line in lines:
            result = CliRunner().invoke(build_app(None), shlex.split(line)[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            printed += result.stdout
        return printed
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "NO_COLOR": "1"}
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def follow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Answered]:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CATHODEFLOW_PROJECT", raising=False)
    names: dict[str, Any] = {}
    answers = {}
    for section in sections():
        python, sh = [], []
        for language, text in section.blocks:
            if language == "python":
                python.append(run_python(text, names))
            else:
                assert language == "sh"
                sh.append(run_sh(text))
        answers[section.title] = Answered(python, sh, dict(names))
    return answers


@pytest.fixture(scope="module")
def answers(demo: Path) -> Iterator[dict[str, Answered]]:
    """Each block run once for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        yield follow(demo, patch)


def of(answers: dict[str, Answered], start: str) -> Answered:
    return next(found for title, found in answers.items() if title.startswith(start))


def rows(printed: str) -> list[list[str]]:
    """The cells of a printed table, its heading first."""
    return [line.split() for line in printed.splitlines() if line.strip()]


def test_there_are_ten_questions_and_each_is_also_a_command():
    asked = [section for section in sections() if re.match(r"\d+\. ", section.title)]
    assert [section.title.partition(".")[0] for section in asked] == [str(number) for number in range(1, 11)]
    for section in sections()[1:]:
        languages = {language for language, _ in section.blocks}
        assert languages == {"python", "sh"}, section.title
        assert any("cflow query" in text for language, text in section.blocks if language == "sh")
        assert any("db." in text or "db[" in text for language, text in section.blocks if language == "python")


def test_the_best_compositions_are_in_the_order_of_their_score(answers: dict[str, Answered]):
    found = of(answers, "1.")
    order = [line.split()[0] for line in found.python[0].splitlines()]
    assert order == ["Mo8", "V8", "Cr8"]
    assert [row[0] for row in rows(found.sh[0])[1:]] == order
    assert list(found.names["best_frame"].composition) == order
    frame = found.names["best_frame"].set_index("composition")
    assert f"{(frame.V21['Mo8'] - frame.V43['Mo8']) / frame.V43['Mo8']:.3f}" in found.python[0].splitlines()[0]


def test_the_rule_that_rejects_most_is_named(answers: dict[str, Answered]):
    found = of(answers, "2.")
    assert rows(found.python[0]) == [["V43_window", "2"], ["V21_window", "1"]]
    assert rows(found.sh[0])[1:] == rows(found.python[0])
    assert found.names["failing"]["margin_V43_window"] >= 2


def test_quarantined_labels_are_given_with_their_reason(answers: dict[str, Answered]):
    found = of(answers, "3.")
    lines = [line.split() for line in found.python[0].splitlines()]
    assert lines
    assert all(law.lost(key) == reason for reason, key, *_ in lines)
    counted = Counter(reason for reason, *_ in lines)
    assert len(counted) == 2
    table = dict(row for row in rows(found.sh[0]) if row[0] in counted and len(row) == 2)
    assert table == {reason: str(number) for reason, number in counted.items()}


def test_the_error_falls_as_the_law_says(answers: dict[str, Answered]):
    found = of(answers, "4.")
    first, second = found.python[0].splitlines()
    sizes = [int(line.split()[2]) + 1 for line in (first, second)]
    assert sizes[0] < sizes[1]
    for line, size in zip((first, second), sizes, strict=True):
        assert f"{1000 * law.mae(size) * 1.5:.1f} meV/atom" in line
    frame = found.names["curve"].query("target == 'formation_energy'")
    assert list(frame.mae) == pytest.approx([law.mae(size) * 1.5 for size in sizes])
    assert f"{law.mae(sizes[0]) * 1.5:.4f}" in found.sh[0]


def test_the_least_certain_predictions_come_first(answers: dict[str, Answered], demo: Path):
    found = of(answers, "5.")
    keys = [line.split()[0] for line in found.python[0].splitlines()]
    every = [key for d in open_project(demo).database["candidates"].find() for key in [d["key"]]]
    assert keys == sorted(every, key=law.fraction, reverse=True)[:10]
    assert [row[1] for row in rows(found.sh[0])[1:]] == keys


def test_arrangements_near_the_lowest_are_all_found(answers: dict[str, Answered], demo: Path):
    found = of(answers, "6.")
    near = {prediction["key"] for prediction in found.names["near"]}
    assert set(found.names["near_frame"].key) == near
    predicted: dict[str, dict[str, float]] = {}
    for d in open_project(demo).database["predictions"].find({"round": 1, "level": "Na3"}):
        if "Mo" in d["composition"]:
            predicted.setdefault(d["composition"], {})[d["key"]] = d["formation_energy"]
    assert set(predicted) == {"Mo8", "V4Mo4", "Cr4Mo4"}
    expected = {
        key for energies in predicted.values() for key, e in energies.items() if e <= min(energies.values()) + 0.020
    }
    assert near == expected
    assert 3 < len(near) < sum(len(energies) for energies in predicted.values())
    of_one = {row[1] for row in rows(found.sh[0])[1:]}
    assert of_one == {key for key in expected if "-V4Mo4-" in key}
    assert found.names["structure"].composition["Mo"] > 0


def test_volume_changes_stand_beside_the_pristine_hosts(answers: dict[str, Answered]):
    found = of(answers, "7.")
    printed = [line for line in found.python[0].splitlines() if " Na1-Na3 " in line]
    assert len(printed) == 1
    assert printed[0].startswith("Mo8")
    swollen, pristine = (1 + law.volume_change(f"nvpf-Na3-{name}-00") / 100 for name in ("Mo8", "V8"))
    bare, empty = (1 + law.volume_change(f"nvpf-Na1-{name}-00") / 100 for name in ("Mo8", "V8"))
    ratio = 929.4663208320247 / 898.5065670256995  # of the unrelaxed cells
    assert f"{100 * (swollen / bare * ratio - 1):+.2f} %" in printed[0]
    assert f"pristine {100 * (pristine / empty * ratio - 1):+.2f} %" in printed[0]
    assert [row[:2] for row in rows(found.sh[0])[1:]] == [["V8", "yes"], ["Mo8", "no"]]


def test_gaps_of_both_functionals_are_there_at_each_level(answers: dict[str, Answered]):
    found = of(answers, "8.")
    lines = {tuple(line.split()[:2]): line.split() for line in found.python[0].splitlines()}
    assert set(lines) == {(name, level) for name in ("V8", "Mo8") for level in law.LEVELS}
    for (name, level), words in lines.items():
        pbe, hybrid = law.gaps(f"nvpf-{level}-{name}-00")
        assert words[2:] == ["PBE", f"{pbe:.2f}", "HSE06", "metal" if hybrid is None else f"{hybrid:.2f}"]
    assert "metal" in found.python[0]
    frame = found.names["gaps"].set_index(["composition", "level"])
    assert frame.hybrid_gap["V8", "Na3"] == pytest.approx(law.gaps("nvpf-Na3-V8-00")[1])
    assert len(rows(found.sh[0])) == 9


def test_bond_strengths_are_given_for_each_pair(answers: dict[str, Answered]):
    found = of(answers, "9.")
    means = found.names["bonds"].groupby(["key", "pair"]).strength.mean()
    assert len(means) == 16
    for (key, pair), strength in means.items():
        assert strength == pytest.approx(law.strengths(key)[pair])
    assert str(law.strengths("nvpf-Na3-V8-00")) in found.python[0]
    assert {"bonding.mean_by_pair.V-O", "bonding.mean_by_pair.Mo-F"} <= set(rows(found.sh[0])[0])


def test_the_time_adds_up(answers: dict[str, Answered], demo: Path):
    found = of(answers, "10.")
    labels = list(open_project(demo).database["labels"].find())
    spent = {
        purpose: sum(law.wall_s(d["key"]) for d in labels if d["purpose"] == purpose) * law.CORES / 3600
        for purpose in ("training", "validation")
    }
    for purpose, hours in spent.items():
        assert re.search(rf"^{purpose} \d+ {hours:.2f} core-hours$", found.python[0], re.MULTILINE)
    costs = found.names["costs"].set_index("stage").core_hours
    assert costs["label"] == pytest.approx(spent["training"])
    assert costs["validate"] == pytest.approx(spent["validation"])
    assert costs["train"] == pytest.approx(8 * 36.0 / 3600)
    assert costs["follow_up/gap"] == pytest.approx(8 * 360.0 * law.CORES / 3600)
    runtimes = found.names["jobs"].runtime_s
    assert list(found.names["longest"].runtime_s) == sorted(runtimes, reverse=True)[:5]
    assert f"{runtimes.max():.1f} s" in found.python[0]


def test_repairs_are_counted(answers: dict[str, Answered], demo: Path):
    found = of(answers, "Trust: what did custodian")
    keys = [d["key"] for d in open_project(demo).database["labels"].find()]
    counted = Counter(done["handler"] for key in keys for done in law.repairs(key))
    assert rows(found.python[0]) == [[name, str(number)] for name, number in counted.most_common()]
    assert rows(found.sh[0])[1:3] == rows(found.python[0])
    assert Counter(found.names["interventions"].handler) == counted


def test_provenances_are_told(answers: dict[str, Answered]):
    found = of(answers, "Trust: which engine")
    assert found.python[0].splitlines() == [
        f"{name} ['pair']" for name in ("labels", "follow_ups", "references", "validations", "models")
    ]
    assert ["nvpf", "pair"] in [row[:2] for row in rows(found.sh[0])]


@pytest.mark.service
@pytest.mark.slow
def test_a_server_gives_the_same_answers_with_the_view_and_with_pymongo_itself(
    demo: Path,
    tmp_path: Path,
    mongo_server: MongoServer,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, Answered],
):
    uri = Stores(mongo_server).uri()
    assert uri is not None
    copied = tmp_path / "served"
    copied.mkdir()
    for file in demo.glob("cathodeflow.sqlite*"):
        shutil.copy(file, copied)
    migrate(open_project(copied), open_target(copied, uri))
    served = follow(copied, monkeypatch)
    for title, expected in answers.items():
        assert in_any_order(served[title].python) == in_any_order(expected.python), title
        assert in_any_order(served[title].sh) == in_any_order(expected.sh), title
    names = {"project": cathodeflow.open(copied), "last": 1}
    names["db"] = pymongo.MongoClient(uri).get_default_database()
    for section in sections()[1:]:
        printed = [run_python(text, names) for language, text in section.blocks if language == "python"]
        assert in_any_order(printed) == in_any_order(answers[section.title].python), section.title


def in_any_order(texts: list[str]) -> list[list[str]]:
    """Equal values come in the order in which a store holds them."""
    return [sorted(text.splitlines()) for text in texts]
