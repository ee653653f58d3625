"""Jobs whose process is gone: adopted when their output is there, run again when it is not.

FireWorks by itself notices a dead job after four hours of silence. On one machine the truth is at hand: the launch
says which process runs it, and the operating system says whether that process lives. What runs in an allocation of
Slurm is judged by Slurm instead (`dispatch.slurm.judgement`), and FIZZLED with the true reason for the policy.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.dispatch.jobs import LAUNCHES, job_uuids
from cathodeflow.dispatch.orphans import end_orphans
from cathodeflow.dispatch.processes import is_alive
from cathodeflow.dispatch.worker import LAUNCHES_FOLDER
from cathodeflow.storage.collections import OUTPUTS

if TYPE_CHECKING:
    from cathodeflow.dispatch.launchpad import ProjectLaunchPad
    from cathodeflow.dispatch.slurm.judgement import Judgement
    from cathodeflow.storage.connection import Project

VANISHED = "vanished"
GIVE_UP_AFTER = 10  # a job that takes its process down every time must end; killed workers rarely hit one job so often


@dataclass(frozen=True)
class LostRun:
    """A job whose process was found gone, and what was done.

    Attributes
    ----------
    fw_id, launch_id : int
        The job and its interrupted start.
    campaign, kind, key : str or None
        As it was added.
    action : str
        ``hand_in``: its outbox said how it had ended; ``adopt``: its output was there, it is COMPLETED; ``rerun``: it
        is READY again; ``fizzle``: it has vanished too often, or Slurm says what ended it, and is FIZZLED, for the
        policy to judge.
    vanished : int
        How often its process has vanished, this time included.
    host, pid : str or None, int or None
        The process.
    reason : str
        Why it was lost, a word of `records.outcomes.Reason`.
    """

    fw_id: int
    launch_id: int
    campaign: str | None
    kind: str | None
    key: str | None
    action: str
    vanished: int
    host: str | None
    pid: int | None
    reason: str = VANISHED


def reconcile(project: Project, campaign: str | None = None, give_up_after: int = GIVE_UP_AFTER) -> list[LostRun]:
    """Find running jobs whose process is gone, on this host or in an allocation of Slurm, and set them right.

    Calling it again, or from several processes at once, changes nothing more. Jobs on other hosts outside Slurm, and
    all in Slurm while it cannot be asked, are left alone. FIZZLED jobs are the policy's business.

    Parameters
    ----------
    project : Project
        An open project.
    campaign : str, optional
        Only jobs of this one.
    give_up_after : int
        A job that takes its process with it so often is FIZZLED instead of run again.

    Returns
    -------
    list of LostRun
        In the order of the launches; empty when nothing was lost.

    Raises
    ------
    StoreError
        The store cannot be written; jobs set right before stay so.
    """
    if project.file is None:
        from cathodeflow.dispatch.repair import repair

        repair(project)
    judged: dict[int, Judgement | None] = {}
    launches = _open_launches(project)
    if any(_in_slurm(launch) for launch in launches):
        from cathodeflow.dispatch.slurm.judgement import judge_launches

        judged.update(judge_launches(project.folder, launches))
    judged.update({d["launch_id"]: None for d in launches if not _in_slurm(d) and not _process_lives(d)})
    if not judged:
        return []
    from cathodeflow.dispatch.launchpad import project_launchpad

    launchpad = project_launchpad(project)
    suspects = [launch for launch in launches if launch["launch_id"] in judged]
    for launch in suspects:
        folder = Path(launch["launch_dir"])
        if project.folder / LAUNCHES_FOLDER in folder.parents:  # a claim cut short names no folder of its own yet
            end_orphans(folder)
    found = (_set_right(launchpad, d["launch_id"], campaign, give_up_after, judged[d["launch_id"]]) for d in suspects)
    return [lost for lost in found if lost is not None]


def _open_launches(project: Project) -> list[dict[str, Any]]:
    launches = project.select(LAUNCHES, {"state": {"$in": ["RESERVED", "RUNNING"]}})
    return sorted(launches, key=lambda launch: launch["launch_id"])


def _process_of(launch: dict[str, Any]) -> dict[str, Any]:
    return ((launch.get("fworker") or {}).get("env")) or {}


def _in_slurm(launch: dict[str, Any]) -> bool:
    """Whether Slurm has to be asked: on its nodes pids are not ours to see.

    In one's own allocation they are, and where there is no Slurm nobody could answer.
    """
    from cathodeflow.dispatch.slurm.commands import slurm_is_here

    job_id = _process_of(launch).get("slurm_job_id")
    return job_id is not None and job_id != os.environ.get("SLURM_JOB_ID") and slurm_is_here()


def _process_lives(launch: dict[str, Any]) -> bool:
    """Whether a launch may still be running: yes for those we cannot see."""
    process = _process_of(launch)
    if process.get("host") != socket.gethostname() or "pid" not in process:
        return True
    return is_alive(process["pid"], process["process_started"])


def _set_right(
    launchpad: ProjectLaunchPad, launch_id: int, campaign: str | None, give_up_after: int, judgement: Judgement | None
) -> LostRun | None:
    """Adopt or rerun one job, alone with its workflow; None when another process was first."""
    from cathodeflow.dispatch.repair import hand_in

    project = launchpad.project
    fw_id = (launchpad.launches.find_one({"launch_id": launch_id}, {"fw_id": 1}) or {}).get("fw_id")
    if fw_id is None:
        return None
    with launchpad.alone_with(fw_id):
        launch = launchpad.launches.find_one({"launch_id": launch_id})
        if launch is None or launch["state"] not in {"RESERVED", "RUNNING"}:
            return None
        firework = launchpad.fireworks.find_one({"fw_id": launch["fw_id"]})
        if firework is None or (campaign is not None and firework["spec"].get("_campaign") != campaign):
            return None
        times = 1 + _vanished_before(project, firework)
        process = _process_of(launch)
        reason = VANISHED if judgement is None else judgement.reason.value
        message = f"process {process.get('pid')} on {process.get('host')} has vanished"
        message += f", as {times} of this job have by now" if times > 1 else ""
        message = message if judgement is None else judgement.message
        if launch_id not in firework["launches"] or firework["state"] not in {"RESERVED", "RUNNING"}:
            # Defused or rerun by a person meanwhile: only the launch is left to close.
            _close(launchpad, launch_id, message, reason)
            return None
        fizzles = judgement is not None or times > give_up_after
        if hand_in(launchpad, launch):
            action = "hand_in"
        else:
            action = "adopt" if _has_output(project, firework) else "fizzle" if fizzles else "rerun"
            _end(launchpad, launch, action, message, reason)
    spec = firework["spec"]
    return LostRun(
        firework["fw_id"],
        launch_id,
        spec.get("_campaign"),
        spec.get("_kind"),
        spec.get("_key"),
        action,
        times,
        process.get("host"),
        process.get("pid"),
        reason,
    )


def _end(launchpad: ProjectLaunchPad, launch: dict[str, Any], action: str, message: str, reason: str) -> None:
    """End a launch as was decided."""
    from fireworks.core.firework import FWAction

    from cathodeflow.dispatch.launchpad import CONTINUE_FROM

    if action == "adopt":
        stored = {"_message": f"{message} after its output was written", "_reason": reason}
        launchpad.complete_launch(launch["launch_id"], FWAction(stored_data=stored), "COMPLETED")
    elif action == "fizzle":
        launchpad.complete_launch(launch["launch_id"], _failure(message, reason), "FIZZLED")
    else:
        _close(launchpad, launch["launch_id"], message)
        launchpad.rerun_fw(launch["fw_id"], rerun_duplicates=False)
        # What the lost run wrote may be worth going on from; its job decides.
        launchpad.update_spec([launch["fw_id"]], {CONTINUE_FROM: launch["launch_dir"]})


def _close(launchpad: ProjectLaunchPad, launch_id: int, message: str, reason: str = VANISHED) -> None:
    """End a launch as failed; FireWorks would archive it as still RUNNING."""
    launch = launchpad.get_launch_by_id(launch_id)
    launch.state = "FIZZLED"
    launch.action = _failure(message, reason)
    launchpad.launches.find_one_and_replace({"launch_id": launch_id}, launch.to_db_dict())


def _failure(message: str, reason: str = VANISHED) -> Any:
    from fireworks.core.firework import FWAction

    details = {"reason": reason}
    stored = {"_message": message, "_reason": reason, "_exception": {"_stacktrace": message, "_details": details}}
    return FWAction(stored_data=stored, exit=True)


def _vanished_before(project: Project, firework: dict[str, Any]) -> int:
    launches = project.select(LAUNCHES, {"launch_id": {"$in": firework.get("archived_launches", [])}})
    return sum(((d.get("action") or {}).get("stored_data") or {}).get("_reason") == VANISHED for d in launches)


def _has_output(project: Project, firework: dict[str, Any]) -> bool:
    """Whether every job of the firework has left a result.

    A job that is replaced by others leaves None: its others would be lost by adopting it, so it runs again.
    """
    uuids = job_uuids(firework)
    if not uuids:
        return False
    found = {d["uuid"] for d in project.select(OUTPUTS, {"uuid": {"$in": uuids}}) if d.get("output") is not None}
    return found == set(uuids)
