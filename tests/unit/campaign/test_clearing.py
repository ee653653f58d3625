"""A finished campaign whose launch folders hold what VASP leaves: what gc says is what it frees, and nothing else."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, launch, run_to_end, work_one

from cathodeflow.calculators.attempt import Attempt, write_attempt
from cathodeflow.campaign import clearing
from cathodeflow.campaign.advance import advance
from cathodeflow.campaign.clearing import Clearance, clear, plan_clearing
from cathodeflow.campaign.launch_folders import launches_of, start_anew
from cathodeflow.campaign.resubmit import Terms, resubmit, select
from cathodeflow.campaign.retention import Hold
from cathodeflow.errors import StoreError
from cathodeflow.records.outcomes import CampaignState
from cathodeflow.storage.connection import Project, open_project

POTCAR = (
    b"  PAW_PBE Na_pv 19Sep2006\n   TITEL  = PAW_PBE Na_pv 19Sep2006\n  secret\n   TITEL  = PAW_PBE O 08Apr2002\n" * 50
)
FILES = {
    "WAVECAR": bytes(20_000),
    "CHGCAR.gz": gzip.compress(bytes(range(256)) * 40, mtime=0),
    "vasprun.xml": b"<modeling>" + b" 0.1234 " * 4000,
    "OUTCAR.gz": gzip.compress(b"forces", mtime=0),
    "INCAR": b"ENCUT = 550\n",
    "INCAR.orig": b"ENCUT = 550\n",
    "POTCAR": POTCAR,
    "POTCAR.orig.gz": gzip.compress(POTCAR, mtime=0),
    "random.bin": os.urandom(5000),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that is done, follow-ups included, with files in every launch folder of theirs."""
    folder = tmp_path_factory.mktemp("done") / "project"
    wanted = definition(
        labels={"total": 6}, surrogate={"seeds": 1}, validation={"per_list": 1}, followups={"branches": ["pdos", "gap"]}
    )
    project = launch(folder, wanted)
    assert run_to_end(project).state == CampaignState.DONE
    for one in launches_of(project, "trial"):
        if one.kind in {"label", "reference", "follow_up"}:
            fill(one.folder / "static" if one.kind == "follow_up" else one.folder)
    return folder


def fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def project(model: Path) -> Iterator[Project]:
    yield from restored(model)


def restored(model: Path) -> Iterator[Project]:
    """The campaign itself, its folders put back after each test: launches name them by their full path."""
    saved = model.with_name("saved")
    shutil.copytree(model, saved, symlinks=True)
    yield open_project(model)
    shutil.rmtree(model)
    saved.rename(model)


def bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def paths_below(project: Project) -> set[Path]:
    return {path for path in (project.folder / "launches").rglob("*") if path.is_file()}


def names(project: Project, kind: str) -> set[str]:
    return {path.name for path in (project.folder / "launches" / kind).rglob("*") if path.is_file()}


def test_the_bytes_said_are_the_bytes_freed(project: Project):
    launches = project.folder / "launches"
    before = bytes_below(launches)
    plan = plan_clearing(project, "trial")
    assert bytes_below(launches) == before
    assert sum(total.bytes_now for total in plan.totals()) == before
    done = clear(project, "trial", plan)
    assert before - bytes_below(launches) == plan.freed == done.bytes_freed > 10**6 / 2
    assert sum(total.bytes_after for total in plan.totals()) == bytes_below(launches)


def test_what_is_left_is_what_retention_keeps(project: Project):
    clear(project, "trial", plan_clearing(project, "trial"))
    common = {"vasprun.xml.gz", "OUTCAR.gz", "INCAR", "POTCAR.spec", "job.log", "attempt.json"}
    assert names(project, "label") == names(project, "reference") == common
    assert names(project, "follow_up") == common | {"CHGCAR.gz"}
    for path in (project.folder / "launches").rglob("*"):
        if path.name == "vasprun.xml.gz":
            assert gzip.decompress(path.read_bytes()) == FILES["vasprun.xml"]
        if path.name == "POTCAR.spec":
            assert set(path.read_text().split()) == {"Na_pv", "O"}
        assert not path.is_file() or b"secret" not in path.read_bytes()


def test_a_second_time_there_is_nothing_to_do(project: Project):
    clear(project, "trial", plan_clearing(project, "trial"))
    events = project.count("events", {"kind": clearing.EVENT})
    again = plan_clearing(project, "trial")
    assert (again.freed, clear(project, "trial", again).bytes_freed) == (0, 0)
    assert project.count("events", {"kind": clearing.EVENT}) == events == 1


def test_the_log_says_what_was_freed(project: Project):
    done = clear(project, "trial", plan_clearing(project, "trial"))
    (event,) = project.select("events", {"kind": clearing.EVENT})
    assert event["details"]["bytes_freed"] == done.bytes_freed
    assert event["details"]["files_deleted"] == done.files_deleted > 0
    assert event["details"]["files_zipped"] == done.files_zipped > 0


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(project: Project, monkeypatch: pytest.MonkeyPatch):
    """The tenth deletion never happens: what was compressed just before lies there twice."""
    plan, count = plan_clearing(project, "trial"), 0
    real = Path.unlink

    def killed(self: Path, missing_ok: bool = False) -> None:
        nonlocal count
        count += self.name in FILES
        if count == 10 or (count > 5 and self.name == "vasprun.xml"):
            raise KeyboardInterrupt
        real(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        clear(project, "trial", plan)
    monkeypatch.undo()
    launches = project.folder / "launches"
    halfway = bytes_below(launches)
    rest = plan_clearing(project, "trial")
    clear(project, "trial", rest)
    assert halfway - bytes_below(launches) == rest.freed
    assert names(project, "label") == {"vasprun.xml.gz", "OUTCAR.gz", "INCAR", "POTCAR.spec", "job.log", "attempt.json"}
    assert bytes_below(launches) == sum(total.bytes_after for total in plan.totals())


def test_links_are_neither_followed_nor_counted(project: Project, tmp_path: Path):
    precious = tmp_path / "precious"
    fill(precious)
    folder = next(one.folder for one in launches_of(project, "trial") if one.kind == "label")
    (folder / "linked").symlink_to(precious)
    (folder / "WAVECAR").unlink()
    (folder / "WAVECAR").symlink_to(precious / "WAVECAR")
    before = bytes_below(project.folder / "launches")
    plan = plan_clearing(project, "trial")
    clear(project, "trial", plan)
    assert {path.name: path.read_bytes() for path in precious.iterdir()} == FILES
    assert before - bytes_below(project.folder / "launches") == plan.freed


def test_hard_links_free_their_bytes_once_and_only_with_the_last(project: Project, tmp_path: Path):
    folder = next(one.folder for one in launches_of(project, "trial") if one.kind == "label")
    whole = plan_clearing(project, "trial").freed
    (folder / "again").mkdir()
    os.link(folder / "WAVECAR", folder / "again" / "WAVECAR")
    assert plan_clearing(project, "trial").freed == whole
    os.link(folder / "WAVECAR", tmp_path / "elsewhere")
    plan = plan_clearing(project, "trial")
    assert plan.freed == whole - len(FILES["WAVECAR"])
    assert clear(project, "trial", plan).bytes_freed == plan.freed
    assert (tmp_path / "elsewhere").read_bytes() == FILES["WAVECAR"]


def test_a_folder_that_leads_out_of_the_project_is_left(project: Project, tmp_path: Path):
    folder = next(one.folder for one in launches_of(project, "trial") if one.kind == "label")
    moved = tmp_path / "moved"
    folder.rename(moved)
    folder.symlink_to(moved)
    plan = plan_clearing(project, "trial")
    assert plan.held()[Hold.OUTSIDE] == 1
    clear(project, "trial", plan)
    assert FILES.items() <= {path.name: path.read_bytes() for path in moved.iterdir()}.items()


def test_a_potcar_without_symbols_stays_and_is_named(project: Project):
    folder = next(one.folder for one in launches_of(project, "trial") if one.kind == "label")
    (folder / "POTCAR.orig.gz").write_bytes(b"no gzip file")
    (folder / "POTCAR").write_text("nothing")
    plan = plan_clearing(project, "trial")
    assert {path.name for one in plan.folders for path in one.unreadable} == {"POTCAR", "POTCAR.orig.gz"}
    clear(project, "trial", plan)
    assert (folder / "POTCAR").exists()
    assert not (folder / "WAVECAR").exists()


def test_a_symbols_file_that_is_there_is_kept_as_it_is(project: Project):
    folder = next(one.folder for one in launches_of(project, "trial") if one.kind == "label")
    (folder / "POTCAR.spec").write_text("V_pv")
    clear(project, "trial", plan_clearing(project, "trial"))
    assert (folder / "POTCAR.spec").read_text() == "V_pv"


def test_more_is_kept_when_asked(project: Project):
    asked = Clearance(also_keep=("WAVE*",))
    clear(project, "trial", plan_clearing(project, "trial", asked), asked)
    assert "WAVECAR.gz" in names(project, "label")


def test_young_folders_stay(project: Project):
    asked = Clearance(youngest_s=3600.0)
    plan = plan_clearing(project, "trial", asked)
    assert plan.freed == 0
    assert plan.held()[Hold.TOO_YOUNG] > 0


def test_a_folder_that_cannot_be_written_is_told_and_what_was_done_is_logged(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    plan, count, before = plan_clearing(project, "trial"), 0, paths_below(project)
    real = Path.unlink

    def full(self: Path, missing_ok: bool = False) -> None:
        nonlocal count
        count += self.name in FILES
        if count > 3:
            raise PermissionError(13, "Permission denied")
        real(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", full)
    with pytest.raises(StoreError, match="Permission denied"):
        clear(project, "trial", plan)
    monkeypatch.undo()
    (event,) = project.select("events", {"kind": clearing.EVENT})
    assert event["details"]["files_deleted"] == len(before - paths_below(project)) >= 3


def test_jobs_that_are_not_settled_keep_every_byte(tmp_path: Path):
    """A campaign in the midst of its labels: jobs that wait, ran without being harvested, or have a record."""
    project = launch(tmp_path / "project", definition())
    for _ in range(30):
        advance(project, "trial", LAWFUL)
        if project.count("labels") >= 2:
            break
        for _ in range(3):
            work_one(project)
    work_one(project)  # done, and no tick has looked at it yet
    recorded = {entry["key"] for entry in project.select("labels", {"campaign": "trial"})}
    for one in launches_of(project, "trial"):
        if one.kind == "label":
            fill(one.folder)
    open_folders = [o.folder for o in launches_of(project, "trial") if o.kind == "label" and o.key not in recorded]
    assert recorded
    assert open_folders
    plan = plan_clearing(project, "trial")
    clear(project, "trial", plan, Clearance(failed_too=True))
    assert plan.held()[Hold.NOT_SETTLED] == len(open_folders)
    for folder in open_folders:
        assert FILES.items() <= {path.name: path.read_bytes() for path in folder.iterdir()}.items()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that stopped: two labels were given up, each after two attempts; VASP's files in all their folders."""
    engine = {"name": "pair", "parameters": {"fail_compositions": ["V4Mo4"]}}
    failures = {"tolerated_fraction": 0.0, "max_attempts": 2}
    folder = tmp_path_factory.mktemp("stopped") / "project"
    project = launch(folder, definition(labels={"total": 14}, engine=engine, failures=failures))
    assert run_to_end(project).state == CampaignState.STOPPED
    for one in launches_of(project, "trial"):
        if one.kind == "label":
            fill(one.folder)
    return folder


@pytest.fixture
def given_up(stopped: Path) -> Iterator[Project]:
    yield from restored(stopped)


def given_up_folders(project: Project) -> dict[str, list[Path]]:
    quarantined = {d["key"] for d in project.select("labels", {"outcome": "quarantined"})}
    found: dict[str, list[Path]] = {}
    for one in launches_of(project, "trial"):
        if one.kind == "label" and one.key in quarantined:
            found.setdefault(one.key, []).append(one.folder)
    return found


def test_a_job_that_is_resubmitted_while_files_go_keeps_its_own(given_up: Project, monkeypatch: pytest.MonkeyPatch):
    """Its next attempt may be reading them by now."""
    monkeypatch.setattr(clearing, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(clearing, "LOOKS_SHARE", float("inf"))
    asked = Clearance(failed_too=True)
    plan = plan_clearing(given_up, "trial", asked)
    key, folders = list(given_up_folders(given_up).items())[-1]
    begun: list[Path] = []

    def on_file(path: Path, _size: int) -> None:
        if not begun:
            resubmit(given_up, "trial", select(keys=(key,)), Terms(go_on=True))
        begun.append(path)

    assert not any(plan.folders[0].launch.folder == folder for folder in folders)
    clear(given_up, "trial", plan, asked, on_file)
    assert begun
    for folder in folders:
        assert FILES.items() <= {path.name: path.read_bytes() for path in folder.iterdir()}.items()


def test_all_attempts_that_a_job_goes_on_from_in_turn_are_kept(given_up: Project):
    """The first of them tells the energy of the start, without which the last one's crystal is of no use."""
    key, (first, second) = next(iter(given_up_folders(given_up).items()))
    write_attempt(second, Attempt("trial", "label", key, 2, continue_from=first))
    given_up.database.fireworks.update_many({"spec._key": key}, {"$set": {"spec._continue_from": str(second)}})
    asked = Clearance(failed_too=True)
    clear(given_up, "trial", plan_clearing(given_up, "trial", asked), asked)
    for folder in (first, second):
        assert FILES.items() <= {path.name: path.read_bytes() for path in folder.iterdir()}.items()
    others = [folders for other, folders in given_up_folders(given_up).items() if other != key]
    assert not any((folder / "WAVECAR").exists() for folders in others for folder in folders)


def test_jobs_with_nothing_to_go_on_from_are_named(given_up: Project):
    folders = given_up_folders(given_up)
    jobs = {d["spec"]["_key"]: d["fw_id"] for d in given_up.select("fireworks", {"spec._key": {"$in": [*folders]}})}
    assert start_anew(given_up, jobs) == []
    asked = Clearance(failed_too=True)
    clear(given_up, "trial", plan_clearing(given_up, "trial", asked), asked)
    assert start_anew(given_up, jobs) == list(jobs)
    key = next(iter(jobs))
    shutil.rmtree(folders[key][0])
    (folders[key][1] / "CONTCAR.gz").write_bytes(gzip.compress(b"Na", mtime=0))
    assert start_anew(given_up, jobs) == [one for one in jobs if one != key]
