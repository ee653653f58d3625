"""Reading ``campaign.yaml``: every refusal names the key and the line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cathodeflow.calculators.engines import PROGRAMS
from cathodeflow.campaign.definition import D_BLOCK, CampaignDefinition, HostDefinition
from cathodeflow.campaign.policy import labels_of_round
from cathodeflow.errors import CalculationError, DefinitionError, HostError
from cathodeflow.records.yaml_lines import Location, line_of

if TYPE_CHECKING:
    from cathodeflow.science.hosts.host import Host

HEAVIEST = 94
"""Atomic number of plutonium: CHGNet's table of elements ends there, MEGNet's with it."""

FOLLOW_UP_STAGES = {"static": "static", "hybrid": "hse"}
"""Stage of the preset of each follow-up run."""

FEWEST_HELD_OUT = 2
"""Labels of the first round that have to be left for measuring the error."""


class DefinitionFile:
    """A definition with the file it was read from, to name lines in later refusals.

    Attributes
    ----------
    path : Path
        The file.
    definition : CampaignDefinition
        What it says.
    """

    def __init__(self, path: Path, tree: Any, definition: CampaignDefinition) -> None:
        self.path = path
        self.definition = definition
        self._tree = tree

    def refusal(self, location: Location, message: str) -> DefinitionError:
        """Return the error that names the file, the line and the key at `location`."""
        return _refusal(self.path, self._tree, location, message)


def read_definition(path: Path) -> DefinitionFile:
    """Read and check the form of a definition file.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    DefinitionFile
        With a definition whose keys, types and ranges are right. What needs crystals is checked by `load_host`.

    Raises
    ------
    DefinitionError
        The file is missing, is no YAML mapping, or a key is unknown, absent or wrong.
    """
    tree = _parse(path)
    try:
        definition = CampaignDefinition.model_validate(_plain(tree))
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if not _is_union_branch(part))
        raise _refusal(path, tree, location, _in_words(first)) from error
    loaded = DefinitionFile(path, tree, definition)
    _check_elements(loaded)
    return loaded


def load_host(loaded: DefinitionFile) -> Host:
    """Build and check the host of a definition, and with it all that can be known to fail before anything runs.

    Raises
    ------
    DefinitionError
        A missing crystal file, a ratio that does not fill the sites, a voltage the levels do not have, an engine, model
        or parameter that does not exist, follow-ups that cannot be, an element without reference, more labels than
        candidates or too few of them, a network that does not exist.
    HostError
        The crystals cannot carry the campaign; the message says why.
    """
    from cathodeflow.science.hosts.host import check_host

    try:
        host = _build_host(loaded)
        check_host(host)
    except HostError as error:
        raise HostError(str(loaded.refusal(("host",), str(error)))) from error
    _check_ratios(loaded, host)
    _check_voltages(loaded, host)
    _check_engine(loaded)
    _check_followups(loaded)
    _check_references(loaded, host)
    _check_labels(loaded, host)
    _check_ensemble(loaded)
    _check_pretrained(loaded)
    return host


def substituents(definition: CampaignDefinition) -> tuple[str, ...]:
    """Return the element symbols of the substitution space."""
    from cathodeflow.science.hosts.compositions import D_BLOCK_30

    return D_BLOCK_30 if definition.elements == D_BLOCK else tuple(definition.elements)


def _build_host(loaded: DefinitionFile) -> Host:
    from cathodeflow.science.hosts import host as hosts

    section: HostDefinition = loaded.definition.host
    if section.packaged is not None:
        return hosts.load_packaged_host(section.packaged)
    files: dict[str, Path] = {}
    sites: dict[str, list[int]] = {}
    for number, level in enumerate(section.levels):
        file = loaded.path.parent / level.file
        if not file.is_file():
            message = f"no such file: {level.file} (looked for beside the definition)"
            raise loaded.refusal(("host", "levels", number, "file"), message)
        files[level.label] = file
        if level.sites is not None:
            sites[level.label] = level.sites
    if sites and len(sites) < len(files):
        raise loaded.refusal(("host", "levels"), "give `sites` for every level or for none")
    assert section.name is not None
    assert section.working_ion is not None
    assert section.formula_units is not None
    assert section.substitute is not None
    return hosts.read_host(section.name, section.working_ion, section.formula_units, files, sites or section.substitute)


def _check_elements(loaded: DefinitionFile) -> None:
    from ase.data import atomic_numbers

    elements = loaded.definition.elements
    for number, symbol in enumerate(elements if isinstance(elements, list) else []):
        if symbol not in atomic_numbers or symbol == "X":
            raise loaded.refusal(("elements", number), f"{symbol!r} is not a chemical element")
        if atomic_numbers[symbol] > HEAVIEST:
            message = f"{symbol} is heavier than plutonium, the last element that potentials and networks here know"
            raise loaded.refusal(("elements", number), message)


def _check_ratios(loaded: DefinitionFile, host: Host) -> None:
    for number, ratio in enumerate(loaded.definition.ratios if isinstance(loaded.definition.ratios, list) else []):
        filled = sum(int(part) for part in ratio.split("/"))
        if filled != host.n_sites:
            message = f"{ratio} fills {filled} sites, but the host has {host.n_sites} substitution sites"
            raise loaded.refusal(("ratios", number), message)


def _check_voltages(loaded: DefinitionFile, host: Host) -> None:
    from cathodeflow.science.energetics.voltage import voltage_names

    known = voltage_names([level.label for level in host.levels])
    for name in loaded.definition.screening.voltage_windows or {}:
        if name not in known:
            message = f"the levels of this host have no voltage {name}, only {', '.join(known)}"
            raise loaded.refusal(("screening", "voltage_windows", name), message)


def _check_engine(loaded: DefinitionFile) -> None:
    from cathodeflow.calculators.engines import provenance

    try:
        provenance(loaded.definition.engine.model_dump())
    except DefinitionError as error:
        raise loaded.refusal(("engine",), str(error)) from error


def _check_followups(loaded: DefinitionFile) -> None:
    """Refuse follow-ups of an engine without electrons, and presets or overrides that do not exist."""
    from cathodeflow.calculators.vasp.preset import load_preset
    from cathodeflow.jobs.followups.branch import preset_for, with_shared

    section, engine = loaded.definition.followups, loaded.definition.engine.name
    if section.branches and engine not in PROGRAMS:
        message = f"engine {engine} is a potential and has no electrons: leave this out, or use engine vasp"
        raise loaded.refusal(("followups", "branches"), message)
    names = {"static": section.static_preset, "hybrid": section.hybrid_preset}
    for role, stage in FOLLOW_UP_STAGES.items():
        location: Location = ("followups", f"{role}_preset")
        try:
            found = load_preset(names[role]).stage
        except DefinitionError as error:
            raise loaded.refusal(location, str(error)) from error
        if found != stage:
            raise loaded.refusal(location, f"preset {names[role]} is of stage {found}; this run needs one of {stage}")
    for key, value in section.overrides.items():
        location = ("followups", "overrides", key)
        role, _, name = key.partition(".")
        if role not in names or not name:
            message = f"keys begin with {' or '.join(names)}, then a preset's key, such as static.kpoints.grid"
            raise loaded.refusal(location, message)
        try:
            load_preset(names[role], {name: value})
        except DefinitionError as error:
            raise loaded.refusal(location, str(error)) from error
    together = with_shared(section.model_dump(), loaded.definition.engine.model_dump())
    for role in names:
        try:
            preset_for(role, together)
        except DefinitionError as error:  # each is allowed, not both
            raise loaded.refusal(("followups", "overrides"), str(error)) from error


def _check_references(loaded: DefinitionFile, host: Host) -> None:
    """Refuse what has no elemental phase: no formation energy could stand on it."""
    from cathodeflow.calculators.potentials.elements import elemental_phases, reference_elements

    listed = loaded.definition.elements
    for element in reference_elements(host, substituents(loaded.definition)):
        try:
            elemental_phases(element)
        except (CalculationError, ValueError) as error:
            of_space = isinstance(listed, list) and element in listed
            location: Location = ("elements", listed.index(element)) if of_space else ("host",)
            raise loaded.refusal(location, f"no elemental phase of {element} is known to refer energies to") from error


def _check_labels(loaded: DefinitionFile, host: Host) -> None:
    from cathodeflow.science.hosts.candidates import count_space

    definition = loaded.definition
    try:
        space = count_space(host, substituents(definition), ratios=definition.ratio_counts())
    except DefinitionError as error:
        raise loaded.refusal(("elements",), str(error)) from error
    if definition.labels.total > space.distinct:
        message = f"{definition.labels.total} labels asked for, but the space has only {space.distinct} candidates"
        raise loaded.refusal(("labels", "total"), message)
    _require_held_out(loaded, len(substituents(definition)) * len(host.levels))


def _require_held_out(loaded: DefinitionFile, n_unaries: int) -> None:
    """Refuse a first round of unary labels only: those all train (S0 section 2.2), so that none measures the error."""
    labels = loaded.definition.labels
    first = labels_of_round(labels.total, labels.rounds, 0)
    if first < n_unaries + FEWEST_HELD_OUT:
        message = (
            f"the first of {labels.rounds} rounds labels {first}, but the {n_unaries} unary ones all go into training: "
            f"give at least {labels.rounds * (n_unaries + FEWEST_HELD_OUT)} labels, fewer elements or fewer rounds"
        )
        raise loaded.refusal(("labels", "total"), message)


def _check_ensemble(loaded: DefinitionFile) -> None:
    labels, seeds = loaded.definition.labels, loaded.definition.surrogate.seeds
    if labels.acquisition == "uncertainty" and labels.rounds > 1 and seeds < 2:
        message = "one network cannot disagree with itself: give two seeds or more, or `acquisition: random`"
        raise loaded.refusal(("surrogate", "seeds"), message)


def _check_pretrained(loaded: DefinitionFile) -> None:
    """Refuse what is surely no network: the fault would show after all labels, in a definition that cannot change.

    A published one may still be installed when training misses it. A name on matgl's hub is not looked up here: without
    a network that takes a minute.
    """
    from difflib import get_close_matches

    from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED

    name = loaded.definition.surrogate.pretrained
    location = ("surrogate", "pretrained")
    if name in PUBLISHED:
        return
    if near := get_close_matches(name, PUBLISHED, n=1, cutoff=0.75):
        raise loaded.refusal(location, f"there is no network {name!r}; {near[0]} is one")
    path = Path(name)
    if path.exists() and not path.is_absolute():
        raise loaded.refusal(location, f"{name} is a relative path, and workers run elsewhere: give the absolute one")
    if path.is_absolute() and not path.exists():
        raise loaded.refusal(location, f"no such file: {name}")


def _parse(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"cannot read {path}: {error.strerror}; give the path of a campaign.yaml") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = (error.problem or "not YAML").split("\n")[0]
        raise DefinitionError(f"{path}, line {line}: {problem}") from error
    except (YAMLError, ValueError) as error:
        raise DefinitionError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, CommentedMap):
        raise DefinitionError(f"{path}, line 1: a campaign definition is a mapping of keys; this is none")
    return tree


def _plain(value: Any) -> Any:
    """Return Python's own types: ruamel.yaml reads 0 and 1_000 as a subclass of int, which a preset's tag refuses."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _is_union_branch(part: str | int) -> bool:
    return isinstance(part, str) and ("[" in part or part in {"function-after", "tuple"})


def _in_words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key (see `cflow init` for those there are)"
    if error["type"] == "missing":
        return "this key is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    return f"{message}, not {given!r}" if isinstance(given, str | int | float) else message


def _refusal(path: Path, tree: Any, location: Location, message: str) -> DefinitionError:
    key = ".".join(str(part) for part in location) or "the definition"
    return DefinitionError(f"{path}, line {line_of(tree, location)}: {key}: {message}")
