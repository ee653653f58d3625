"""A site says what a queue is asked for; what is misspelt or contradicts itself is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathodeflow.dispatch.fireworks_files import fireworks_files
from cathodeflow.dispatch.site_file import SiteFile, find_site, new_site, read_site, site_names
from cathodeflow.dispatch.sites import Category, Queue, Site, mebibytes_of, seconds_of, slurm_time
from cathodeflow.errors import DefinitionError

SHIPPED = ("academic_cpu_gpu", "compose", "laptop", "large_centre", "slurm_template")


def write(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "site.yaml").write_text(text)
    return str(folder)


@given(st.integers(min_value=0, max_value=30 * 86400))
def test_a_time_limit_is_read_back_as_written(seconds: int) -> None:
    assert seconds_of(slurm_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 1800), ("10:30", 630), ("01:00:00", 3600), ("2-12", 216000), ("1-00:30", 88200), ("1-02:03:04", 93784)],
)
def test_every_form_of_a_time_limit_is_understood(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(("text", "amount"), [("400M", 400), ("4G", 4096), ("512", 512), ("2048K", 2), ("1T", 1048576)])
def test_amounts_of_memory_are_understood(text: str, amount: int) -> None:
    assert mebibytes_of(text) == amount


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_site_can_be_read(name: str) -> None:
    site = read_site(name)
    assert all(site.site.queue_of(category) is not None for category in Category), "each job has a queue"


def test_the_sites_that_ship_are_found() -> None:
    assert set(SHIPPED) <= set(site_names())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("title: t\nworkers:\n  cpu:\n    partitoin: x\n", 4, "workers.cpu.partitoin: there is no such key"),
        ("workers:\n  cpu: {}\n", 1, "title: this key is needed"),
        ("title: t\nworkers:\n  cpu:\n    time: soon\n", 4, "'soon' is no time limit"),
        ("title: t\nworkers:\n  cpu:\n    time: '0:10'\n", 4, "less than a minute"),
        ("title: t\nworkers:\n  cpu:\n    memory: much\n", 4, "'much' is no amount of memory"),
        ("title: t\nworkers:\n  cpu:\n    partition: a b\n", 4, "cannot stand in a #SBATCH line"),
        ("title: t\nworkers:\n  cpu:\n    slots: 4\n", 3, "4 slots share 1 core(s)"),
        ("title: t\nworkers:\n  cpu:\n    slots: 2\n    ranks: 4\n", 3, "allocation for itself"),
        ("title: t\nworkers:\n  cpu:\n    max_running: 1\n", 3, "max_queued counts within max_running"),
        ("title: t\nworkers:\n  cpu:\n    max_time: '00:30:00'\n", 3, "max_time 00:30:00 is less than time 01:00:00"),
        ("title: t\nworkers:\n  cpu:\n    memory: 4G\n    max_memory: 2G\n", 3, "max_memory 2G is less than memory 4G"),
        ("title: t\nworkers:\n  cpu:\n    max_memory: 2G\n", 3, "max_memory needs memory"),
        ("title: t\nworkers:\n  tpu: {}\n", 3, "workers.tpu"),
        ("title: t\nworkers:\n  cpu:\n    also: [gpu]\n  gpu: {}\n", 1, "jobs of gpu would go to two queues"),
        ("title: t\nshared_filesystem: false\nworkers:\n  cpu: {}\n", 1, "shared filesystem"),
        ("title: t\nworkers:\n  cpu:\n    environment:\n      A B: x\n", 5, "is no name of an environment variable"),
        (
            "title: t\nscheduler: none\nmodules: [vasp]\nworkers:\n  cpu:\n    environment: {A: x}\n    cpus: 4\n",
            1,
            "modules, workers.cpu.environment would have no effect",
        ),
        ("title: [\n", 2, "expected the node content"),
        ("just text\n", 0, "holds no site"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        read_site(write(tmp_path / "s", text))
    assert said in str(refusal.value)
    assert not line or f"site.yaml, line {line}:" in str(refusal.value)


def test_a_site_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"no site 'moon'.*laptop.*cflow site new moon"):
        find_site("moon")
    with pytest.raises(DefinitionError):
        find_site("../site_configs/laptop/site.yaml")


def test_a_new_site_is_the_template_to_be_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = new_site("mine")
    assert path == Path("site_configs/mine/site.yaml")
    assert read_site("mine").folder == tmp_path / "site_configs" / "mine"
    with pytest.raises(DefinitionError, match="exists already"):
        new_site("mine")
    with pytest.raises(DefinitionError, match="cannot name a folder"):
        new_site("../mine")


def test_the_template_names_every_key() -> None:
    """Else a key would be known to those who read the source only."""
    text = (find_site("slurm_template") / "site.yaml").read_text()
    missing = [name for model in (Site, Queue) for name in model.model_fields if f"{name}:" not in text]
    assert missing == []


@pytest.mark.parametrize("name", SHIPPED)
def test_fireworks_own_files_can_be_loaded_by_fireworks(name: str, tmp_path: Path) -> None:
    from fireworks.core.fworker import FWorker
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    site = read_site(name)
    for file, text in fireworks_files(site).items():
        path = tmp_path / file.replace("/", "-")
        path.write_text(text)
        if file.endswith("my_fworker.yaml"):
            assert FWorker.from_file(str(path)).name.startswith(name)
        if file.endswith("my_qadapter.yaml"):
            script = CommonAdapter.from_file(str(path)).get_script_str(str(tmp_path))
            queue = site.site.workers[Category(file.split("/")[0])]
            assert f"#SBATCH --time={slurm_time(queue.time_s)}" in script
            assert f"#SBATCH --ntasks={queue.ranks}" in script
            assert "$${" not in script


def test_fireworks_and_jobflow_look_where_the_project_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both take the database from their file, whatever the address says."""
    import yaml
    from fireworks.core.launchpad import LaunchPad
    from jobflow.settings import JobflowSettings

    address = "mongodb://db.example/lab?connect=false"
    files = fireworks_files(read_site("large_centre"), "lab")
    for name, text in files.items():
        (tmp_path / Path(name).name).write_text(text.replace("${CATHODEFLOW_STORE_URI}", address))
    said = yaml.safe_load((tmp_path / "my_launchpad.yaml").read_text())
    assert LaunchPad.from_dict(said).db.name == "lab"
    store = JobflowSettings(CONFIG_FILE=str(tmp_path / "jobflow.yaml")).JOB_STORE.docs_store
    assert (store.database, store.uri, store.collection_name) == ("lab", address, "outputs")


def test_no_rendered_file_holds_the_stores_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATHODEFLOW_STORE_URI", "mongodb://ada@db.example/x")
    files = fireworks_files(read_site("large_centre"))
    assert not any("db.example" in text for text in files.values())
    assert "${CATHODEFLOW_STORE_URI}" in files["my_launchpad.yaml"]


def test_categories_without_a_queue_of_their_own_go_where_the_site_says() -> None:
    site = Site.model_validate({"title": "t", "workers": {"cpu": {"also": ["dft"]}}})
    assert site.queue_of("dft") == "cpu"
    assert site.queue_of("gpu") is None
    assert SiteFile(Path("s"), site).batch_template is None
