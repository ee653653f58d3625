"""The tutorials as a reader follows them: every block is run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import ase.io
import pytest
from tests.campaign_world import definition, launch, run_to_end
from tests.published_weights import megnet_2019

from cathodeflow.campaign.definition_file import load_host, read_definition
from cathodeflow.science.hosts.candidates import count_space
from cathodeflow.storage.connection import open_project

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT_S = 1800  # for a block, on a machine that does other things beside it


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file a YAML block is to be written to: its first line is a comment that names it."""
        named = re.match(r"# (\S+\.yaml)\n", self.text)
        return named[1] if named else None

    def follow(self, folder: Path) -> str:
        """Do what the block says in `folder`; return what it printed."""
        if self.file is not None:
            (folder / self.file).write_text(self.text)
            return ""
        commands = {
            "bash": ["bash", "-euo", "pipefail", "-c", self.text],
            "python": [sys.executable, "-c", self.text],
        }
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "NO_COLOR": "1",
        }
        environment.pop("CATHODEFLOW_PROJECT", None)
        result = subprocess.run(
            commands[self.language],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert result.returncode == 0, f"{self.text}\nended with {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout


def blocks_of(page: str) -> list[Block]:
    return [Block(language, text) for language, text in FENCE.findall((TUTORIALS / page).read_text())]


@pytest.mark.slow
def test_a_campaign_on_an_own_host_goes_as_its_tutorial_says(tmp_path: Path):
    """One test, since what it follows takes a minute: the real engine, and the published network retrained."""
    megnet_2019()
    printed = {block.text: block.follow(tmp_path) for block in blocks_of("lifepo4.md")}
    folder = tmp_path / "lifepo4"
    check_labels(folder)
    check_numbers_of_the_text(folder, printed)
    check_validation(folder, printed)
    check_files(folder)


def printed_by(printed: dict[str, str], start: str) -> str:
    return next(text for block, text in printed.items() if block.startswith(start))


def check_labels(folder: Path) -> None:
    project = open_project(folder)
    campaign = project.get("campaigns", "lifepo4")
    assert campaign is not None
    assert campaign["state"] == "done", campaign["message"]
    chosen = campaign["selections"]["0"]
    assert len(chosen) == read_definition(folder / "campaign.yaml").definition.labels.total == 12
    done = {label["key"] for label in project.database["labels"].find({"outcome": "done"})}
    assert set(chosen) <= done


def check_numbers_of_the_text(folder: Path, printed: dict[str, str]) -> None:
    host = load_host(read_definition(folder / "campaign.yaml"))
    assert (host.n_sites, [len(level.structure) for level in host.levels]) == (4, [28, 24])
    space = count_space(host, ["Fe", "Mn", "Co"])
    assert [(level.distinct, level.arrangements) for level in space.levels] == [(18, 45), (18, 45)]
    project = open_project(folder)
    assert project.count("candidates") == 36
    assert "36 candidates" in printed_by(printed, "cflow plan")
    assert {model["n_held_out"] for model in project.database["models"].find()} == {2}
    pristine = project.database["validations"].find_one({"pristine": True})
    assert pristine["voltages"]["V10"] == pytest.approx(3.4, abs=0.1)


def check_validation(folder: Path, printed: dict[str, str]) -> None:
    validations = list(open_project(folder).database["validations"].find())
    assert len(validations) == 3, "the pristine host and two of the only list there is"
    assert [found["composition"] for found in validations if found["pristine"]] == ["Fe4"]
    for found in validations:
        assert found["missing"] == {}
        assert 2.5 < found["voltages"]["V10"] < 5.0
    asked = printed_by(printed, "from pathlib import Path\n\nfrom cathodeflow")
    assert asked.count("V computed") == len(validations)


def check_files(folder: Path) -> None:
    report = (folder / "report-lifepo4.html").read_text()
    assert "lifepo4" in report
    assert "LiFePO4 with manganese and cobalt on the iron sites." in report
    labelled = ase.io.read(folder / "labels" / "labels.xyz", index=":")
    assert len(labelled) >= 12
    assert all({"Fe", "Mn", "Co"} & set(atoms.get_chemical_symbols()) for atoms in labelled)
    assert len(list((folder / "validated").glob("*.cif"))) == 6


def test_the_demonstrations_questions_are_answered(tmp_path: Path):
    narrow = {"voltage_windows": {"V43": [1.0, None], "V21": [3.6, 3.7]}}
    run_to_end(launch(tmp_path / "demo", definition("nvpf_demo", screening=narrow)), "nvpf_demo")
    answers = {block.text: block.follow(tmp_path) for block in blocks_of("nvpf_demo.md") if block.language == "bash"}
    verdicts = next(text for block, text in answers.items() if "query verdicts" in block)
    assert "V21" in verdicts
    assert "V21_window" in verdicts
    assert "V8" in next(text for block, text in answers.items() if "query validations" in block)


def test_every_block_of_the_tutorials_can_be_followed():
    """A block in a language that nobody runs would be a claim that nobody checks."""
    pages = sorted(TUTORIALS.glob("*.md"))
    assert {page.name for page in pages} >= {"lifepo4.md", "nvpf_demo.md"}
    for page in pages:
        for block in blocks_of(page.name):
            followed = block.language in {"bash", "python"} or block.file
            assert followed or block.text == "make demo\n", f"{page.name}: {block.text}"
