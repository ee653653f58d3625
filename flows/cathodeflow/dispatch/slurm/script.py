"""The batch script of an allocation: a pure function of the site and of what is asked for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cathodeflow.dispatch.site_file import BATCH_TEMPLATE, SiteFile
from cathodeflow.dispatch.sites import Category, Queue, mebibytes_of, seconds_of, slurm_time
from cathodeflow.errors import DefinitionError

COMMENT_PREFIX = "cathodeflow"
ALL_MEMORY = "0"  # of a node, as sbatch spells it


@dataclass(frozen=True)
class Request:
    """What one allocation is for.

    Attributes
    ----------
    project : Path
        The project folder, absolute.
    campaign : str
        Only its jobs are run.
    category : Category
        The queue.
    token : str
        Names this submission for good.
    time_factor, memory_factor : float
        Times what the site gives, for jobs that ran out of it.
    """

    project: Path
    campaign: str
    category: Category
    token: str
    time_factor: float = 1.0
    memory_factor: float = 1.0


def job_name(token: str) -> str:
    """Return the Slurm job's name. It holds the token, for sacct forgets comments on most clusters."""
    return f"cflow-{token}"


def token_of(name: str, job_id: str = "") -> str | None:
    """Return the token of a Slurm job, None when it is none of ours.

    Parameters
    ----------
    name : str
        The job's.
    job_id : str
        As squeue writes it. The tasks of an array share a name; each has its number as the end of its token.
    """
    found = re.fullmatch(r"cflow-([0-9a-z-]+)", name)
    if found is None:
        return None
    task = re.search(r"_(\d+)$", job_id)
    return found[1] if task is None else task_token(found[1], int(task[1]))


def task_token(array: str, task: int) -> str:
    """Return the token of one task of an array."""
    return f"{array}-{task}"


def comment(project_id: str, request: Request) -> str:
    """Return the Slurm comment: who submitted the job, for what, under which token."""
    return ":".join((COMMENT_PREFIX, project_id, request.campaign, request.category, request.token))


def time_limit_s(queue: Queue, factor: float = 1.0) -> int:
    """Return the time of an allocation, seconds: the site's times `factor`, up to its `max_time`."""
    most = max(queue.time_s, seconds_of(queue.max_time) if queue.max_time else round(queue.time_s * factor))
    return min(round(queue.time_s * factor), most)


def memory_of(queue: Queue, factor: float = 1.0) -> str | None:
    """Return the memory to ask for; all of the node where the site names none and the default was too little."""
    if queue.memory is None:
        return ALL_MEMORY if factor > 1.0 else None
    asked = round(mebibytes_of(queue.memory) * factor)
    most = mebibytes_of(queue.max_memory) if queue.max_memory else asked
    return f"{min(asked, max(most, mebibytes_of(queue.memory)))}M"


def directives(queue: Queue, request: Request, log: str) -> list[str]:
    """Return the options of sbatch, as #SBATCH lines have them."""
    found = [
        f"--job-name={job_name(request.token)}",
        f'--output="{log}"' if " " in log else f"--output={log}",
        "--open-mode=append",
        "--no-requeue",
    ]
    for option in ("partition", "qos", "account", "constraint", "reservation"):
        value = getattr(queue, option)
        found += [f"--{option}={value}"] if value is not None else []
    found += [f"--time={slurm_time(time_limit_s(queue, request.time_factor))}"]
    found += [f"--nodes={queue.nodes}", f"--ntasks={queue.ranks}", f"--cpus-per-task={queue.cpus}"]
    kind = f"{queue.gpu_type}:" if queue.gpu_type else ""
    if queue.gpus and queue.gpu_option == "gres":
        found.append(f"--gres=gpu:{kind}{queue.gpus}")
    elif queue.gpus and queue.gpu_option != "none":
        count = queue.gpus * queue.nodes if queue.gpu_option == "gpus" else queue.gpus
        found.append(f"--{queue.gpu_option}={kind}{count}")
    memory = memory_of(queue, request.memory_factor)
    found += [f"--mem={memory}"] if memory is not None else []
    found += ["--exclusive"] if queue.exclusive else []
    found += [f"--signal=B:USR1@{queue.signal_s}"] if queue.signal_s else []
    return [*found, *queue.directives]


def worker_command(site: SiteFile, request: Request) -> str:
    """Return the command that an allocation runs."""
    queue = site.site.workers[request.category]
    parts = ["-m", "cathodeflow.dispatch.slurm.allocation", "--project", str(request.project)]
    parts += ["--campaign", request.campaign, "--token", request.token]
    for category in (request.category, *queue.also):
        parts += ["--category", category]
    parts += ["--slots", str(queue.slots), "--threads", str(queue.threads), "--gpus", str(queue.gpus)]
    parts += ["--linger-s", f"{queue.linger_s:g}", "--signal-s", str(queue.signal_s)]
    parts += ["--time-factor", f"{request.time_factor:g}", "--memory-factor", f"{request.memory_factor:g}"]
    for kind, seconds in queue.expected_s.items():
        parts += ["--expected", f"{kind}={seconds}"]
    return shlex.join([site.site.python, *parts])


def render(site: SiteFile, request: Request, log: str, command: str | None = None) -> str:
    """Write the batch script of an allocation.

    Parameters
    ----------
    site : SiteFile
        Whose queue.
    request : Request
        What for.
    log : str
        Where it prints; `%j` becomes the job's number.
    command : str, optional
        What to run in place of the workers, for checks.

    Returns
    -------
    str

    Raises
    ------
    DefinitionError
        The site has no such queue, or its own template uses a name there is not.
    """
    queue = site.site.workers.get(request.category)
    if queue is None:
        raise DefinitionError(f"site {site.name} has no workers for {request.category}: add them to its site.yaml")
    values = {
        "shell": site.site.shell,
        "site": site.name,
        "category": request.category.value,
        "directives": directives(queue, request, log),
        "modules": [*site.site.modules, *queue.modules],
        "environment": {**_threads(queue), **site.site.environment, **queue.environment},
        "pre_commands": [*site.site.pre_commands, *queue.pre_commands],
        "activate": site.site.activate,
        "command": command or worker_command(site, request),
        "queue": queue.model_dump(mode="json"),
        "request": request,
    }
    return _fill(site.batch_template, values)


def _threads(queue: Queue) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(queue.threads), "MKL_NUM_THREADS": str(queue.threads)}


def in_double_quotes(text: str) -> str:
    """Quote for the shell so that only $NAME is expanded."""
    return '"' + re.sub(r'(["`\\])', r"\\\1", text).replace("$(", "\\$(") + '"'


def _fill(template: Path | None, values: Mapping[str, object]) -> str:
    from jinja2 import Environment, StrictUndefined, TemplateError

    source = template or files("cathodeflow.dispatch.slurm") / BATCH_TEMPLATE
    # Shell, not HTML: escaping for the web would spoil it.
    environment = Environment(  # noqa: S701
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["in_double_quotes"] = in_double_quotes
    try:
        return environment.from_string(source.read_text(encoding="utf-8")).render(**values)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{template or BATCH_TEMPLATE}{f', line {line}' if line else ''}"
        known = ", ".join(sorted(values))
        raise DefinitionError(f"{where}: {error.message}; a template may use {known}") from error


def sbatch_command(script: Path, project_id: str, request: Request, further: Sequence[str] = ()) -> list[str]:
    """Return the command that submits a script.

    What a submission is found by, and that Slurm must not start it twice, is said here as well: options of the command
    go before those of the script, and a site's own template may lack them.
    """
    kept = [f"--job-name={job_name(request.token)}", f"--comment={comment(project_id, request)}", "--no-requeue"]
    return ["sbatch", "--parsable", *kept, *further, str(script)]


def array_option(tasks: int) -> str:
    """Return the option of sbatch that makes so many equal tasks of a script."""
    return f"--array=0-{tasks - 1}"
