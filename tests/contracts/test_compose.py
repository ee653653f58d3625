"""docker-compose.yml names only what there is: paths, commands, options, variables; and it is valid."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from cathodeflow.cli.app import build_app
from cathodeflow.settings import Settings
from cathodeflow.storage.address import PASSWORD_VARIABLE

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docker-compose.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
START = REPOSITORY / "deploy" / "slurm" / "start.sh"
OWN = {PASSWORD_VARIABLE, "CATHODEFLOW_PROJECT", *(f"CATHODEFLOW_{name.upper()}" for name in Settings.model_fields)}
OF_THE_FILE = {"CATHODEFLOW_USER"}  # read by docker compose alone
BUILT = {name: service for name, service in SERVICES.items() if "build" in service}


def stages() -> dict[str, list[str]]:
    """Lines of the Dockerfile by stage, continuation lines joined."""
    found: dict[str, list[str]] = {}
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("FROM "):
            stage = line.split()[-1]
            found[stage] = []
        elif line and not line.startswith("#"):
            found[stage].append(line)
    return found


def test_there_are_the_server_the_dashboard_and_a_slurm_to_try() -> None:
    assert set(SERVICES) == {"mongodb", "dashboard", "slurm"}
    assert SERVICES["slurm"]["profiles"] == ["slurm"]


def has_docker_compose() -> bool:
    """Docker may be there without its compose."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def test_docker_takes_it() -> None:
    if not has_docker_compose():
        pytest.skip("no `docker compose` on PATH")
    environment = os.environ | {PASSWORD_VARIABLE: "any"}
    subprocess.run(["docker", "compose", "-f", FILE, "config", "--quiet"], env=environment, check=True)


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
def test_it_keeps_to_the_specification_of_compose_files() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_are_this_machines_own(name: str) -> None:
    service = SERVICES[name]
    assert ("image" in service) != ("build" in service)
    if "image" in service:
        assert re.search(r":\d+\.\d+\.\d+$", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "healthcheck" in service


def test_the_server_is_healthy_only_once_it_knows_its_user() -> None:
    """The image first starts a server without users, on loopback alone; it is asked by another name."""
    service = SERVICES["mongodb"]
    words = service["healthcheck"]["test"]
    assert words[words.index("--host") + 1] == service["hostname"] == "mongodb"
    assert {"MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"} <= set(service["environment"])
    assert service["volumes"] == ["mongodb_data:/data/db"]
    assert "mongodb_data" in COMPOSE["volumes"]


def test_every_variable_is_one_that_something_reads() -> None:
    asked = set(re.findall(r"\$\{(\w+)", FILE.read_text()))
    assert asked <= OWN | OF_THE_FILE
    for service in BUILT.values():
        named = {key for key in service["environment"] if key.startswith("CATHODEFLOW_")}
        assert named <= OWN
    assert "mongodb://cathodeflow@mongodb:27017/" in BUILT["slurm"]["environment"]["CATHODEFLOW_STORE_URI"]


def test_no_password_is_written_down() -> None:
    for service in SERVICES.values():
        for key, value in service["environment"].items():
            assert "PASSWORD" not in key or str(value).startswith("${")


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_there(name: str) -> None:
    build_of = BUILT[name]["build"]
    assert (REPOSITORY / build_of["context"] / build_of["dockerfile"]).resolve() == DOCKERFILE
    assert build_of["target"] in stages()


def test_everything_that_is_copied_is_tracked() -> None:
    copied = [
        word for lines in stages().values() for line in lines if line.startswith("COPY ") for word in line.split()
    ]
    sources = {word for word in copied if word != "COPY" and not word.startswith(("/", ".")) and word != "site_configs"}
    sources |= {"site_configs"}
    for source in sources:
        assert (REPOSITORY / source).exists(), source


def test_the_wheel_that_is_built_finds_all_that_it_includes() -> None:
    """Those parts of the repository that pyproject.toml names must be in the image before `pip install .`."""
    import tomllib

    hatch = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*hatch["force-include"], *(package.split("/")[0] for package in hatch["packages"])}
    copied = {word for line in stages()["cathodeflow"] if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert needed | {"pyproject.toml", "README.md", "LICENSE", "requirements.lock"} == copied


def test_the_dashboards_command_is_one_of_ours() -> None:
    words = BUILT["dashboard"]["command"]
    command = get_command(build_app(None))
    context = command.make_context("cflow", list(words), resilient_parsing=True)
    name, sub, rest = command.resolve_command(context, list(words))  # type: ignore[attr-defined]
    assert name == "dashboard"
    options = {option for parameter in sub.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options
    assert 'ENTRYPOINT ["cflow"]' in stages()["dashboard"]
    assert any(parameter.envvar == "CATHODEFLOW_PROJECT" for parameter in sub.params)


def test_the_cluster_is_started_by_a_script_of_ours_and_has_the_queues_of_its_site() -> None:
    assert os.access(START, os.X_OK)
    subprocess.run(["bash", "-n", START], check=True)
    (entry,) = (line for line in stages()["slurm"] if line.startswith("ENTRYPOINT"))
    assert "start-slurm" in entry
    assert "SLURM_CONF=/var/lib/one-node/slurm.conf" in " ".join(stages()["slurm"])
    partitions = set(re.findall(r"^PartitionName=(\w+)", START.read_text(), re.MULTILINE))
    site = YAML(typ="safe").load((REPOSITORY / "site_configs" / "compose" / "site.yaml").read_text())
    assert {queue["partition"] for queue in site["workers"].values()} <= partitions


def test_the_page_that_asks_for_commands_names_real_services() -> None:
    page = (REPOSITORY / "docs" / "howto" / "try_with_compose.md").read_text()
    for line in re.findall(r"^ +(docker compose .*)$", page, re.MULTILINE):
        words = shlex.split(line.replace("…", ""))
        assert set(words) & set(SERVICES) or "down" in words or "ps" in words, line
