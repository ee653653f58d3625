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
from cathodeflow.storage.connection import open_project

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT_S = 400  # for the whole page, on a machine that does other things beside it


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


@pytest.fixture(scope="module")
def lifepo4(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The project folder that the tutorial leaves, and what each block printed."""
    megnet_2019()
    folder = tmp_path_factory.mktemp("tutorial")
    printed = {block.text: block.follow(folder) for block in blocks_of("lifepo4.md")}
    return folder / "lifepo4", printed


def printed_by(lifepo4: tuple[Path, dict[str, str]], start: str) -> str:
    return next(text for block, text in lifepo4[1].items() if block.startswith(start))


@pytest.mark.slow
def test_the_own_host_tutorial_labels_what_its_definition_asks_for(lifepo4: tuple[Path, dict[str, str]]):
    folder, _ = lifepo4
    project = open_project(folder)
    campaign = project.get("campaigns", "lifepo4")
    assert campaign is not None
    assert campaign["state"] == "done", campaign["message"]
    chosen = campaign["selections"]["0"]
    assert len(chosen) == read_definition(folder / "campaign.yaml").definition.labels.total == 12
    done = {label["key"] for label in project.database["labels"].find({"outcome": "done"})}
    assert set(chosen) <= done


@pytest.mark.slow
def test_the_own_host_tutorial_ends_with_validated_compositions(lifepo4: tuple[Path, dict[str, str]]):
    project = open_project(lifepo4[0])
    validations = list(project.database["validations"].find())
    assert len(validations) == 3, "the pristine host and two of the only list there is"
    assert [found["composition"] for found in validations if found["pristine"]] == ["Fe4"]
    for found in validations:
        assert found["missing"] == {}
        assert 2.5 < found["voltages"]["V10"] < 5.0
    printed = printed_by(lifepo4, "from pathlib import Path\n\nfrom cathodeflow")
    assert printed.count("V computed") == len(validations)


@pytest.mark.slow
def test_what_the_own_host_tutorial_says_of_its_host_is_so(lifepo4: tuple[Path, dict[str, str]]):
    folder, _ = lifepo4
    host = load_host(read_definition(folder / "campaign.yaml"))
    project = open_project(folder)
    assert (host.n_sites, [len(level.structure) for level in host.levels]) == (4, [28, 24])
    assert project.count("candidates") == 36
    assert "36 candidates" in printed_by(lifepo4, "cflow plan")
    voltages = project.database["validations"].find_one({"pristine": True})["voltages"]
    assert voltages["V10"] == pytest.approx(3.4, abs=0.1)


@pytest.mark.slow
def test_the_own_host_tutorial_leaves_its_files(lifepo4: tuple[Path, dict[str, str]]):
    folder, _ = lifepo4
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
