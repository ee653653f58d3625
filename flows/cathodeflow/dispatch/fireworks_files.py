"""FireWorks' own files of a site, for people who go on with `qlaunch`: rendered from it, never edited by hand."""

from __future__ import annotations

from typing import Any

from cathodeflow.dispatch.site_file import SiteFile
from cathodeflow.dispatch.sites import Category, Queue, slurm_time
from cathodeflow.dispatch.slurm.script import in_double_quotes
from cathodeflow.storage.collections import DATABASE, OUTPUTS

_VARIABLE = "CATHODEFLOW_STORE_URI"
_FILL = (
    f"# FireWorks and jobflow expand no variables: `envsubst < FILE` puts the address of ${_VARIABLE} in. Where\n"
    "# it names a user, write the password behind it then (user:password@), and keep the file to yourself: chmod 600.\n"
)


def fireworks_files(site: SiteFile, database: str = DATABASE) -> dict[str, str]:
    """Return FireWorks' and jobflow's files of a site.

    Parameters
    ----------
    site : SiteFile
        The site.
    database : str
        Name of the project's database on its server.

    Returns
    -------
    dict of str to str
        File name, folders included, to content: `my_launchpad.yaml`, `jobflow.yaml` and for each category
        `<category>/my_fworker.yaml` and `<category>/my_qadapter.yaml`. The store's address is the name of the
        environment variable that holds it: no file holds the address itself.
    """
    address = f"${{{_VARIABLE}}}"
    # FireWorks and maggma take the database from here, whatever the address says.
    launchpad = {"host": address, "uri_mode": True, "name": database, "logdir": None, "strm_lvl": "WARNING"}
    store = {"type": "MongoStore", "database": database, "collection_name": OUTPUTS, "uri": address}
    found = {
        "my_launchpad.yaml": _FILL + _yaml(launchpad),
        "jobflow.yaml": _FILL + _yaml({"JOB_STORE": {"docs_store": store}}),
    }
    for category, queue in site.site.workers.items():
        found[f"{category}/my_fworker.yaml"] = _yaml(_fworker(site, category, queue))
        if site.site.scheduler == "slurm":
            found[f"{category}/my_qadapter.yaml"] = _yaml(_queue_adapter(site, category, queue))
    return found


def _fworker(site: SiteFile, category: Category, queue: Queue) -> dict[str, Any]:
    categories = [category.value, *(other.value for other in queue.also)]
    return {"name": f"{site.name}-{category}", "category": categories, "query": "{}", "env": {}}


def _queue_adapter(site: SiteFile, category: Category, queue: Queue) -> dict[str, Any]:
    kind = f"{queue.gpu_type}:" if queue.gpu_type else ""
    environment = {"OMP_NUM_THREADS": str(queue.threads), **site.site.environment, **queue.environment}
    modules = [*site.site.modules, *queue.modules]
    before = [f"module load {' '.join(modules)}"] if modules else []
    before += [f"export {name}={in_double_quotes(value)}" for name, value in environment.items()]
    before += [*site.site.pre_commands, *queue.pre_commands, *site.site.activate]
    adapter = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": "SLURM",
        "rocket_launch": "rlaunch rapidfire" if queue.slots == 1 else f"rlaunch multi {queue.slots}",
        "nodes": queue.nodes,
        "ntasks": queue.ranks,
        "cpus_per_task": queue.cpus,
        "walltime": slurm_time(queue.time_s),
        "queue": queue.partition,
        "account": queue.account,
        "qos": queue.qos,
        "constraint": queue.constraint,
        "mem": queue.memory,
        "signal": f"B:USR1@{queue.signal_s}" if queue.signal_s else None,
        "job_name": f"cflow-{category}",
        "pre_rocket": "\n".join(before) or None,
        "logdir": ".",
    }
    options = {
        "gres": f"gpu:{kind}{queue.gpus}",
        "gpus-per-node": f"{kind}{queue.gpus}",
        "gpus": f"{kind}{queue.gpus * queue.nodes}",
    }
    if queue.gpus and queue.gpu_option in options:
        adapter[queue.gpu_option.replace("-", "_")] = options[queue.gpu_option]
    return {key: value for key, value in adapter.items() if value is not None}


def _yaml(content: dict[str, Any]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    stream = StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 10_000
    writer.dump(content, stream)
    return stream.getvalue()
