"""What docs/howto shows has to work as it is written."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cathodeflow.campaign.definition import CampaignDefinition
from cathodeflow.campaign.query import COLLECTIONS

Cflow = Callable[..., Any]
HOWTO = Path(__file__).parents[3] / "docs" / "howto"


def blocks(page: str, language: str) -> list[str]:
    text = (HOWTO / page).read_text(encoding="utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def test_the_queries_of_the_page_are_answered(cflow: Cflow, finished: Path):
    lines = [line for block in blocks("query_the_store.md", "sh") for line in block.splitlines()]
    queries = [shlex.split(line.split(" > ")[0])[1:] for line in lines if line.startswith("cflow query")]
    assert len(queries) >= 5
    for query in queries:
        assert cflow(*query, "-p", finished).exit_code == 0, query


def test_the_python_of_the_page_runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    shutil.copytree(finished, tmp_path / "my-project")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("query_the_store.md", "python"):
        exec(compile(block, "query_the_store.md", "exec"), names)
    assert "nvpf-Na3-" in capsys.readouterr().out
    assert len(names["structure"]) > 60


def test_the_page_names_every_collection():
    text = (HOWTO / "query_the_store.md").read_text(encoding="utf-8")
    for name in COLLECTIONS:
        assert f"| `{name}` |" in text


def test_the_sections_of_the_pages_are_valid():
    from ruamel.yaml import YAML

    host = YAML(typ="safe").load(blocks("own_host.md", "yaml")[0])
    engine = YAML(typ="safe").load(blocks("own_engine.md", "yaml")[0])
    made = CampaignDefinition.model_validate({"name": "x", **host, **engine})
    assert made.host.formula_units == 4
    assert made.engine.model == "chgnet-r2scan"


def test_every_command_on_the_pages_has_its_options():
    from typer.main import get_command

    from cathodeflow.cli.app import build_app

    checked, app = 0, get_command(build_app(None))
    for page in sorted(HOWTO.parent.rglob("*.md")):
        for line in commands_of(page.read_text(encoding="utf-8")):
            words = shlex.split(line, comments=True)[1:]
            command: Any = app
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            if hasattr(command, "commands"):
                continue  # options before a subcommand
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {
                "-h",
                "--help",
            }
            asked = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
            assert asked <= known, f"{page.name}: {line}"
            checked += 1
    assert checked > 95


def commands_of(text: str) -> list[str]:
    """Return the commands of a page, in blocks and in the text, each up to its comment, pipe or redirection."""
    fenced = re.findall(r"^ *```(?:sh|bash)?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    unfenced = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`(cflow [^`\n]+)`", unfenced)
    in_container = "docker compose exec slurm "
    lines += [line.strip().removeprefix(in_container) for line in re.findall(r"^ {4}\S.*", unfenced, re.MULTILINE)]
    return [re.split(r" [|>&] ", line)[0] for line in lines if line.startswith("cflow ")]
