"""What a definition needs from the machines that run it, and what this one lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cathodeflow.campaign.definition_file import substituents
from cathodeflow.errors import MissingDependencyError

if TYPE_CHECKING:
    from cathodeflow.calculators.vasp.preset import VaspPreset
    from cathodeflow.calculators.vasp.requirements import Finding
    from cathodeflow.campaign.definition import CampaignDefinition
    from cathodeflow.science.hosts.host import Host

ELSEWHERE_OPTION = "--workers-elsewhere"
"""Of `cflow launch`: the workers' machines have what this one lacks."""
PARTS = {"static": "static", "pdos": "pdos", "hse": "gap", "cohp": "bonding", "bader": "bader"}
"""A definition's name of each branch that `requirements` names."""
RELAXATIONS = "relaxations"


@dataclass(frozen=True)
class Lack:
    """Something that the definition needs and this machine does not have.

    Attributes
    ----------
    subject, problem, remedy : str
        What was looked at, what is wrong, and what to do about it.
    stops : tuple of str
        ``relaxations`` and follow-up branches of the definition that cannot run without it; never empty.
    """

    subject: str
    problem: str
    remedy: str
    stops: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """One clause that names what it stops."""
        return f"{self.subject}: {self.problem}, which stops {self.stopped}; {self.remedy}"

    @property
    def stopped(self) -> str:
        """What it stops, in words."""
        if RELAXATIONS in self.stops:
            return f"{RELAXATIONS} and all that follows"
        return f"the follow-up {'branch' if len(self.stops) == 1 else 'branches'} {', '.join(self.stops)}"


def vasp_command() -> str:
    """Return how atomate2 starts VASP here: ATOMATE2_VASP_CMD, its settings file, else ``vasp_std``."""
    from atomate2.settings import Atomate2Settings

    return str(Atomate2Settings().VASP_CMD)


def lobster_command() -> str:
    """Return how LOBSTER is started here, as `calculators.lobster.run`, whose import takes seconds, reads it."""
    from atomate2.settings import Atomate2Settings

    return str(Atomate2Settings().LOBSTER_CMD)


def lacks(definition: CampaignDefinition, host: Host) -> list[Lack]:
    """List what a campaign needs and this machine lacks.

    Parameters
    ----------
    definition : CampaignDefinition
        Checked by `definition_file.load_host`.
    host : Host
        Its host.

    Returns
    -------
    list of Lack
        Empty for engines that need no program: potentials, and a rehearsal, whose stand-ins ship with the package.
    """
    if definition.engine.name != "vasp":
        return []
    return [lack for finding in _findings(definition, host) if (lack := _lack(finding, definition)) is not None]


def _findings(definition: CampaignDefinition, host: Host) -> Iterator[Finding]:
    from cathodeflow.calculators.potentials.elements import reference_elements
    from cathodeflow.calculators.vasp import requirements

    bonding = "bonding" in definition.followups.branches
    yield from requirements.check_vasp(vasp_command())
    elements = reference_elements(host, substituents(definition))
    seen: set[Finding] = set()
    for preset in presets_of(definition):
        for finding in requirements.check_potcars(preset, elements):
            if finding not in seen:
                seen.add(finding)
                yield finding
    yield from requirements.check_lobster(lobster_command()) if bonding else ()
    yield from requirements.check_bader()


def presets_of(definition: CampaignDefinition) -> Iterator[VaspPreset]:
    """Yield the presets of all runs a campaign with engine ``vasp`` or ``rehearsal`` makes.

    Raises
    ------
    DefinitionError
        One does not exist, or an override does not fit it.
    """
    from cathodeflow.calculators.vasp.parameters import read_parameters
    from cathodeflow.jobs.followups.branch import ROLES, preset_for, with_shared

    parameters = read_parameters(definition.engine.parameters)
    yield parameters.preset
    yield parameters.reference
    followups = definition.followups
    if not followups.branches:
        return
    section = with_shared(followups.model_dump(), definition.engine.model_dump())
    for role in ROLES:
        if role == "static" or "gap" in followups.branches:
            yield preset_for(role, section)


def _lack(finding: Finding, definition: CampaignDefinition) -> Lack | None:
    """Say what a finding stops of a definition; None where nothing."""
    wanted: list[str] = list(definition.followups.branches)
    stopped = [PARTS[name] for name in finding.stops if name in PARTS]
    if "static" in stopped:
        stopped = wanted  # all of them read the static run
    parts = [RELAXATIONS] if "relax" in finding.stops else []
    parts += [name for name in wanted if name in stopped]
    return Lack(finding.subject, finding.problem, finding.remedy, tuple(parts)) if parts else None


def require_ready(definition: CampaignDefinition, host: Host) -> None:
    """Refuse to launch what this machine cannot run.

    Raises
    ------
    MissingDependencyError
        Names everything that is missing, what each stops and its remedy.
    """
    found = lacks(definition, host)
    if found:
        raise MissingDependencyError(
            f"this machine cannot run {definition.name}: {'. '.join(lack.in_words for lack in found)}. If its workers "
            f"run on machines that have all this, launch with {ELSEWHERE_OPTION}"
        )


def missing_network(definition: CampaignDefinition) -> str | None:
    """Return a warning where the network to retrain is not installed here; None where it is, or is another.

    It is no refusal: hours of labelling come first, another machine may train, and the remedy works at any time.
    """
    from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED, weights_path
    from cathodeflow.settings import get_settings

    name = definition.surrogate.pretrained
    if name not in PUBLISHED or weights_path(get_settings().cache_dir, name).is_file():
        return None
    return (
        f"{name} is not installed here, and without it the campaign stops at its first training: "
        f"`cflow model install {name}` where its workers run, before the labels are done"
    )
