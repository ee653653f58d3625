"""`model`: pretrained networks, and those that campaigns have trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cathodeflow.cli.options import CampaignOption, ForceOption, JsonOption, ProjectOption
from cathodeflow.errors import CampaignError, ModelError


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the `model` commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=help_style,
        help="Install, list, show and export surrogate networks.",
    )
    group.command("install")(install)
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("export")(export)
    return group


ModelArgument = Annotated[
    str, typer.Argument(metavar="ID", help="megnet-2019, or an id such as nvpf_demo/r0/formation_energy/s0.")
]


def install(
    name: Annotated[str, typer.Argument(help="megnet-2019, the published Materials Project network, or megnet-2018.")],
    archive: Annotated[
        Path | None,
        typer.Option("--archive", help="The source archive, brought here by other means, instead of pip.", exists=True),
    ] = None,
) -> None:
    """Fetch a published network with pip, check its sha256, convert it and keep it with its licence."""
    from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED, install_published, weights_path
    from cathodeflow.cli.output import note, say
    from cathodeflow.settings import get_settings

    if name not in PUBLISHED:
        raise ModelError(f"no published model {name!r}: there are {', '.join(PUBLISHED)}")
    cache = get_settings().cache_dir
    there = weights_path(cache, name).is_file()
    path = install_published(name, cache, note, archive)
    say(f"{name} {'was installed already' if there else 'is installed'}: {path}")


def list_models(project: ProjectOption = Path(), campaign: CampaignOption = None, as_json: JsonOption = False) -> None:
    """List the published networks and the trained ones of a project, with their errors on the held-out labels."""
    from cathodeflow.cli.output import print_json, print_table, say

    published = _published()
    trained = _trained(project, campaign)
    if as_json:
        print_json({"published": published, "trained": trained})
        return
    print_table(
        ["published", "installed", "sha256", "weights"],
        [[entry["name"], entry["installed"], entry["sha256"][:12], entry["weights"] or "-"] for entry in published],
    )
    if trained:
        say()
        columns = ["trained", "labels", "R²", "MAE", "RMSE", "un-retrained R²", "un-retrained MAE"]
        print_table(columns, [_row(entry) for entry in trained])


def _row(entry: dict[str, Any]) -> list[Any]:
    own, before = entry["metrics"], entry["pretrained_metrics"]
    return [entry["_id"], entry["n_train"], own["r2"], own["mae"], own["rmse"], before["r2"], before["mae"]]


def show(name: ModelArgument, project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """Show one network: where it comes from, what it was trained on, how good it is."""
    from cathodeflow.cli.output import print_json, say, text_of

    entry = _find(name, project)
    if as_json:
        print_json(entry)
        return
    for key, value in entry.items():
        if key in {"curve", "parity"}:
            say(f"{key:<20} {len(value)} points (--json shows them)")
        else:
            say(f"{key:<20} {text_of(value)}")


def export(
    name: ModelArgument,
    file: Annotated[Path, typer.Argument(help="File to write the weights to.")],
    project: ProjectOption = Path(),
    force: ForceOption = False,
) -> None:
    """Write the weights of a network to a file, for `torch.load` and `surrogate.pretrained` of another campaign."""
    from cathodeflow.cli.output import say

    if file.exists() and not force:
        raise CampaignError(f"{file} exists already: name another file, or add --force")
    entry = _find(name, project)
    content = _weights(entry, project)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    say(f"Wrote {file} ({len(content) / 1024:.0f} KiB)")


def _published() -> list[dict[str, Any]]:
    from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED, REQUIREMENT, weights_path
    from cathodeflow.settings import get_settings

    cache = get_settings().cache_dir
    found = []
    for name, model in PUBLISHED.items():
        path = weights_path(cache, name)
        found.append(
            {
                "name": name,
                "installed": path.is_file(),
                "weights": str(path) if path.is_file() else None,
                "source": f"{REQUIREMENT}, {model.member}",
                "sha256": model.sha256,
                "cutoff_angstrom": model.cutoff,
                "licence": "BSD-3-Clause",
            }
        )
    return found


def _trained(project: Path, campaign: str | None) -> list[dict[str, Any]]:
    from cathodeflow.cli.selection import campaign_name, open_existing
    from cathodeflow.storage.project_file import is_project

    if not is_project(project):
        return []
    opened = open_existing(project)
    wanted = {} if campaign is None else {"campaign": campaign_name(opened, campaign)}
    return list(opened.database["models"].find(wanted, {"curve": 0, "parity": 0}).sort([("_id", 1)]))


def _find(name: str, project: Path) -> dict[str, Any]:
    for entry in _published():
        if entry["name"] == name:
            return entry
    from cathodeflow.cli.selection import open_existing

    found = open_existing(project).database["models"].find_one({"_id": name})
    if found is None:
        raise ModelError(f"no model {name!r}; `cflow model list` names those there are")
    return dict(found)


def _weights(entry: dict[str, Any], project: Path) -> bytes:
    if "weights_blob" in entry:
        from cathodeflow.cli.selection import open_existing

        return open_existing(project).blobs.get(entry["weights_blob"])
    if entry["weights"] is None:
        raise ModelError(f"{entry['name']} is not installed: `cflow model install {entry['name']}`")
    return Path(entry["weights"]).read_bytes()
