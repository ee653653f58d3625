"""The schema of ``campaign.yaml``: everything a campaign is, checked before anything is written."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cathodeflow.records.followup import HYBRID_OVERLAP
from cathodeflow.records.outcomes import Branch, JobKind

D_BLOCK = "d-block"

RUN_FILES = (
    *("INCAR", "KPOINTS", "POSCAR", "CONTCAR", "POTCAR.spec"),
    *("OUTCAR", "OSZICAR", "vasprun.xml", "custodian.json"),
)
"""What says how a run of VASP was made and what came out."""

Window = tuple[float | None, float | None]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Factor = Annotated[float, Field(ge=1.0, le=64.0)]


class Section(BaseModel):
    """A part of the definition: unknown keys are refused, and so are nan and inf."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LevelDefinition(Section):
    """One working-ion content of an own host: its crystal, and which sites are substituted if indices are needed."""

    label: str = Field(pattern=r"^[A-Z][a-z]?\d+(\.\d+)?$", description="Ion and content per formula unit, e.g. Na3.")
    file: str = Field(description="CIF (or any file pymatgen reads), relative to the definition's folder.")
    sites: list[int] | None = Field(None, description="Indices of the substitution sites; by element when absent.")


class HostDefinition(Section):
    """The host crystal: a packaged one, or one from the user's files."""

    packaged: str | None = Field(None, description="A host that ships: nvpf or lifepo4. Then nothing else here.")
    name: str | None = Field(None, pattern=r"^[a-z0-9_]+$", description="Of an own host; begins its candidates' keys.")
    working_ion: str | None = Field(None, description="Element that leaves on charging.")
    formula_units: int | None = Field(None, ge=1, description="In the cell, the same for every level.")
    substitute: str | None = Field(None, description="Element whose sites are substituted.")
    levels: list[LevelDefinition] = Field([], description="Two or more, with the same substitution sites.")

    @model_validator(mode="after")
    def _one_kind(self) -> HostDefinition:
        own = [self.name, self.working_ion, self.formula_units, self.substitute]
        if self.packaged is not None:
            if any(value is not None for value in own) or self.levels:
                raise ValueError("give either `packaged` or an own host (name, working_ion, …), not both")
        elif any(value is None for value in own) or len(self.levels) < 2:
            raise ValueError("an own host needs name, working_ion, formula_units, substitute and two or more levels")
        return self


class EngineDefinition(Section):
    """What computes energies. `parameters` goes to the engine, which refuses what it does not know."""

    name: Literal["mlff", "pair", "vasp", "rehearsal"] = Field(
        "mlff",
        description="A machine-learned potential; VASP; VASP's path with stand-in programs (rehearsal); "
        "or a pair potential that means nothing, for rehearsing the campaign alone.",
    )
    model: str = Field(
        "chgnet-0.3.0",
        description="Potential of mlff, and behind rehearsal: chgnet-0.3.0, -0.2.0, -r2scan; of rehearsal also pair.",
    )
    max_force: float | None = Field(
        None,
        gt=0,
        description="A potential's relaxation stops below this force on every atom (0.05); of VASP the preset says it.",
        json_schema_extra={"unit": "eV/Å"},
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        description="A potential's relaxation that needs more (500) is quarantined as not converged; VASP has NSW.",
    )
    parameters: dict[str, Any] = Field(
        {},
        description="Of the engine: optimizer and device (a GPU where there is one) for mlff, delay_s and "
        "fail_compositions for pair, preset, overrides and more for vasp and rehearsal.",
    )


class LabelsDefinition(Section):
    """How many structures are relaxed, and which."""

    total: int = Field(1171, ge=1, description="Over all rounds.")
    acquisition: Literal["random", "uncertainty"] = Field(
        "random",
        description="All unaries, then random (S0); or, from the second round, where the ensemble disagrees, diverse.",
    )
    rounds: int = Field(1, ge=1, description="Rounds of labelling and retraining; the first is always random.")
    seed: int = Field(0, description="Of the random choices.")
    max_volume_change: float = Field(
        40.0, gt=0, description="Beyond it a relaxation has exploded.", json_schema_extra={"unit": "%"}
    )

    @model_validator(mode="after")
    def _enough_for_rounds(self) -> LabelsDefinition:
        if self.total < 5 * self.rounds:
            raise ValueError(f"{self.total} labels are too few for {self.rounds} rounds: give at least five a round")
        return self


class SurrogateDefinition(Section):
    """How the graph network is retrained (S0: 0.8/0.2, Adam, mean squared error, 1e-3, 128)."""

    pretrained: str = Field(
        "megnet-2019", description="The network to start from: a published one, a weights file, or a name matgl loads."
    )
    seeds: int = Field(3, ge=1, description="Members of the ensemble, per target.")
    held_out_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the labels that measures the error; unaries always train."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam.")
    batch_size: int = Field(128, ge=1, description="Crystals per step.")
    trained_blocks: int = Field(
        1,
        ge=0,
        le=3,
        description="MEGNet blocks that learn, from the read-out; 3 is the whole network, for many labels.",
    )
    max_epochs: int = Field(40, ge=1, description="Passes over the training set at most.")
    patience: int = Field(12, ge=1, description="Epochs without a better validation loss before training stops.")


class PredictionDefinition(Section):
    """How the space is cut into jobs."""

    shard_size: int = Field(4000, ge=1, description="Candidates per job.")


class ScreeningDefinition(Section):
    """The rules a composition has to pass, in this order; defaults are the paper's (S0 section 3.4)."""

    relaxation_energy_variation: float | None = Field(
        0.05,
        gt=0,
        description="Largest variation of E_relax over the levels; null switches the rule off.",
        json_schema_extra={"unit": "eV/atom"},
    )
    variation_measure: Literal["range", "max"] = Field(
        "range", description="Largest minus smallest E_relax over the levels, or the largest itself."
    )
    step_shape: bool = Field(True, description="Whether each voltage has to exceed that of the fuller step before it.")
    voltage_windows: dict[str, Window] | None = Field(
        None,
        description="Lowest and highest allowed value per voltage; null is open. Absent: the paper's.",
        json_schema_extra={"unit": "V"},
    )

    @field_validator("voltage_windows")
    @classmethod
    def _ordered(cls, windows: dict[str, Window] | None) -> Any:
        for name, (low, high) in (windows or {}).items():
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{name}: the lower limit {low} V is not below the upper limit {high} V")
        return windows


class ValidationDefinition(Section):
    """Which of the screened are computed at every level."""

    per_list: int = Field(
        10, ge=0, description="Best of the noble and of the other list, each, beside the pristine host."
    )


class FollowUpsDefinition(Section):
    """What is computed of each validated composition at every level once it is relaxed (S0 section 2.1)."""

    branches: list[Literal["pdos", "gap", "bonding", "bader", "density_difference"]] = Field(
        [], description="Which; each is independent of the others. They need electrons: engine vasp or rehearsal."
    )
    static_preset: str = Field("s0_static", description="Of the static run that all of them read.")
    hybrid_preset: str = Field("s0_hse_band_edges", description="Of the run at the band edges that gives the gap.")
    hybrid_overlap: float = Field(
        HYBRID_OVERLAP,
        ge=0,
        description="A metal whose bands overlap by less gets a hybrid run too, which may open a gap; 0: none does.",
        json_schema_extra={"unit": "eV"},
    )
    overrides: dict[str, Any] = Field(
        {}, description="Single keys of the presets that are changed, such as `static.kpoints.grid: [2, 2, 2]`."
    )

    @field_validator("branches")
    @classmethod
    def _each_once(cls, branches: Any) -> Any:
        if len(set(branches)) != len(branches):
            raise ValueError("a branch is listed twice")
        return branches


class RetentionDefinition(Section):
    """Which files of settled jobs stay when `cflow gc` runs; the others are deleted, POTCARs always (their licence)."""

    references: list[str] = Field([*RUN_FILES], description="Names or patterns, of the runs of the elements.")
    labels: list[str] = Field([*RUN_FILES], description="Of relaxations, those of the validation included.")
    follow_ups: list[str] = Field(
        [*RUN_FILES, "CHGCAR", "*.vasp", "*.lobster", "lobsterin", "lobsterout", "ACF.dat"],
        description="Of a candidate's branches, once all of them are done.",
    )
    zip: bool = Field(True, description="Whether what stays is compressed.")

    @field_validator("references", "labels", "follow_ups")
    @classmethod
    def _names(cls, patterns: Any) -> Any:
        for pattern in patterns:
            if "/" in pattern or not pattern:
                raise ValueError(f"{pattern!r} is no name of a file: folders are not named here")
            if pattern.startswith("POTCAR") and pattern != "POTCAR.spec":
                raise ValueError("POTCARs are licensed and not kept; their symbols stay as POTCAR.spec")
        return patterns


class FailureDefinition(Section):
    """What is borne."""

    tolerated_fraction: Fraction = Field(0.2, description="Share of a round's labels that may be quarantined.")
    max_attempts: int = Field(3, ge=1, description="Per job.")


class BudgetDefinition(Section):
    """What may be spent. Labelling stops when it is reached."""

    core_hours: float | None = Field(
        None, gt=0, description="Of relaxing labels; null is no limit.", json_schema_extra={"unit": "h"}
    )


class ResourcesDefinition(Section):
    """What jobs of a kind, or of a branch of the follow-ups, need on a cluster beyond what its queue gives."""

    time: dict[JobKind | Branch, Factor] = Field(
        {}, description="Times the time of the site's queue, e.g. `gap: 4`. A job that runs out of it gets twice that."
    )
    memory: dict[JobKind | Branch, Factor] = Field({}, description="Times the memory of the site's queue.")


class CampaignDefinition(Section):
    """A whole campaign, as in ``campaign.yaml``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", description="Its own in the project.")
    description: str = Field("", description="For people; printed in the report.")
    host: HostDefinition
    elements: list[str] | Literal["d-block"] = Field(
        default="d-block", description="What takes the substitution sites; d-block is the thirty of S0."
    )
    ratios: list[str] | Literal["all"] = Field(
        "all", description="Site counts `first/second` of the binaries, e.g. 2/6, the lighter element first."
    )
    engine: EngineDefinition = EngineDefinition()
    labels: LabelsDefinition = LabelsDefinition()
    surrogate: SurrogateDefinition = SurrogateDefinition()
    prediction: PredictionDefinition = PredictionDefinition()
    screening: ScreeningDefinition = ScreeningDefinition()
    validation: ValidationDefinition = ValidationDefinition()
    followups: FollowUpsDefinition = FollowUpsDefinition()
    retention: RetentionDefinition = RetentionDefinition()
    failures: FailureDefinition = FailureDefinition()
    budget: BudgetDefinition = BudgetDefinition()
    resources: ResourcesDefinition = ResourcesDefinition()

    @field_validator("elements")
    @classmethod
    def _distinct(cls, elements: Any) -> Any:
        if isinstance(elements, list):
            repeated = sorted({symbol for symbol in elements if elements.count(symbol) > 1})
            if repeated:
                raise ValueError(f"listed twice: {', '.join(repeated)}")
            if not elements:
                raise ValueError("no elements: list at least one")
        return elements

    @field_validator("ratios")
    @classmethod
    def _well_formed(cls, ratios: Any) -> Any:
        if isinstance(ratios, list):
            for ratio in ratios:
                parts = ratio.split("/")
                if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
                    raise ValueError(f"{ratio!r} is not a ratio of site counts such as 2/6")
        return ratios

    def ratio_counts(self) -> frozenset[tuple[int, int]] | None:
        """Return the allowed (first, second) site counts of binaries, None for all."""
        if isinstance(self.ratios, str):
            return None
        return frozenset((int(first), int(second)) for first, second in (ratio.split("/") for ratio in self.ratios))

    def sha256(self) -> str:
        """Return the hash of the definition's canonical JSON: equal definitions, equal hash."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def changed_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """List what differs between two definitions, as ``key: old → new``.

    Parameters
    ----------
    old, new : dict
        Definitions as `model_dump(mode="json")`.
    prefix : str
        Path of the section being compared.

    Returns
    -------
    list of str
        One line per differing key, in order; empty when equal.
    """
    lines: list[str] = []
    for key in sorted(set(old) | set(new)):
        path = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += changed_keys(before, after, f"{path}.")
        elif before != after:
            lines.append(f"{path}: {before} → {after}")
    return lines
