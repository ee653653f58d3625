"""Finding and reading `site.yaml`: every refusal names the key and the line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cathodeflow.dispatch.sites import Site
from cathodeflow.errors import DefinitionError, StoreError
from cathodeflow.records.yaml_lines import Location, line_of

FILE_NAME = "site.yaml"
FOLDER = "site_configs"
BATCH_TEMPLATE = "job.sh.jinja"
TEMPLATE_SITE = "slurm_template"


class SiteFile:
    """A site with the folder it was read from.

    Attributes
    ----------
    name : str
        The folder's.
    folder : Path
        Absolute.
    site : Site
        What it says.
    """

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder.absolute()
        self.name = self.folder.name
        self.site = site

    @property
    def batch_template(self) -> Path | None:
        """The site's own template of a batch script; None where the packaged one is used."""
        path = self.folder / BATCH_TEMPLATE
        return path if path.is_file() else None


def site_folders() -> list[Path]:
    """Return where sites are looked for, nearest first: here, then what was shipped."""
    package = Path(__file__).parents[1]
    places = [Path(FOLDER), package / FOLDER, package.parents[1] / FOLDER]
    return [place for place in places if place.is_dir()]


def site_names() -> list[str]:
    """Return the names of the sites that can be found."""
    return sorted({path.parent.name for place in site_folders() for path in place.glob(f"*/{FILE_NAME}")})


def find_site(name: str) -> Path:
    """Return the folder of a site.

    Parameters
    ----------
    name : str
        Its name, or the path of its folder.

    Raises
    ------
    DefinitionError
        There is none; says which there are.
    """
    if (Path(name) / FILE_NAME).is_file():
        return Path(name)
    for place in site_folders():
        if re.fullmatch(r"[\w.-]+", name) and (place / name / FILE_NAME).is_file():
            return place / name
    known = ", ".join(site_names()) or "none"
    raise DefinitionError(
        f"there is no site {name!r} (known: {known}): make one with `cflow site new {Path(name).name}`"
    )


def new_site(name: str) -> Path:
    """Copy the annotated template to `site_configs/<name>` here.

    Returns
    -------
    Path
        Its `site.yaml`.

    Raises
    ------
    DefinitionError
        The name is no folder name, or is taken.
    StoreError
        The folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise DefinitionError(f"{name!r} cannot name a folder: use letters, digits, - and _")
    folder = Path(FOLDER) / name
    if folder.exists():
        raise DefinitionError(f"{folder} exists already: edit its {FILE_NAME}, or choose another name")
    try:
        shutil.copytree(find_site(TEMPLATE_SITE), folder)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    return folder / FILE_NAME


def read_site(name: str) -> SiteFile:
    """Find and read a site.

    Raises
    ------
    DefinitionError
        There is none of that name, or its file is no YAML mapping, or a key is unknown, absent or wrong.
    """
    folder = find_site(name)
    path = folder / FILE_NAME
    tree = _parse(path)
    try:
        return SiteFile(folder, Site.model_validate(_plain(tree)))
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if part != "[key]")
        raise _refusal(path, tree, location, _in_words(first)) from error


def _parse(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML().load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DefinitionError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path} is no text in UTF-8: save it as such") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DefinitionError(f"{path}, line {line}: {error.problem or error.context}") from error
    except YAMLError as error:
        raise DefinitionError(f"{path} is no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise DefinitionError(f"{path} holds no site: it needs keys such as `title` and `workers`")
    return tree


def _plain(node: Any) -> Any:
    """Return YAML's tree without its marks; numbers where text is wanted keep their spelling."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return node


def _in_words(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "there is no such key"
    if error["type"] == "missing":
        return "this key is needed"
    given = error.get("input")
    return f"{message}, not {given!r}" if isinstance(given, int | float) else message


def _refusal(path: Path, tree: Any, location: Location, message: str) -> DefinitionError:
    key = ".".join(str(part) for part in location) or "the site"
    return DefinitionError(f"{path}, line {line_of(tree, location)}: {key}: {message}")
