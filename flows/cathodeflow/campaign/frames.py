"""Columns of the frames that a project is read as: where each comes from, and its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign.query import value_at
from cathodeflow.storage import collections as names

if TYPE_CHECKING:
    import pandas as pd

Source = str | Callable[[Mapping[str, Any]], Any]
SECONDS_PER_HOUR = 3600.0

NUMBER, WHOLE, MOMENT, AS_IT_IS = "number", "whole", "moment", ""


@dataclass(frozen=True)
class Column:
    """One column, or one for each key of a mapping.

    Attributes
    ----------
    name : str
        Of the column; with ``{}`` in it, the value is a mapping and each of its keys makes a column of that name.
    source : str or callable
        Dotted path in the document, or what to compute of it.
    unit : str
        Empty for what has none.
    kind : str
        `NUMBER` (a missing one is not-a-number), `WHOLE` (a missing one is NA), `MOMENT` (UTC) or `AS_IT_IS`.
    """

    name: str
    source: Source
    unit: str = ""
    kind: str = AS_IT_IS

    def values(self, documents: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the values in documents, None where there is none."""
        source = self.source
        if not isinstance(source, str):
            return [source(document) for document in documents]
        if "." in source:
            return [value_at(document, source) for document in documents]
        return [document.get(source) for document in documents]


def _plain(*paths: str) -> tuple[Column, ...]:
    return tuple(Column(path, path) for path in paths)


def _numbers(unit: str, *paths: str, within: str = "") -> tuple[Column, ...]:
    return tuple(Column(path, f"{within}{path}", unit, NUMBER) for path in paths)


def _whole(*paths: str) -> tuple[Column, ...]:
    return tuple(Column(path, path, "", WHOLE) for path in paths)


def _length(path: str) -> Callable[[Mapping[str, Any]], int]:
    return lambda document: len(document.get(path) or ())


def _core_hours(document: Mapping[str, Any]) -> float | None:
    relaxation = document.get("relaxation")
    if relaxation is None:
        return None
    return float(relaxation["wall_s"] * relaxation.get("cores", 1) / SECONDS_PER_HOUR)


def _margins(document: Mapping[str, Any]) -> dict[str, float | None]:
    return {rule["rule"]: rule["margin"] for rule in document.get("rules", ())}


def _mean_charges(document: Mapping[str, Any]) -> dict[str, float]:
    return {part["element"]: part["mean"] for part in value_at(document, "bader.species") or ()}


def _band_centres(document: Mapping[str, Any]) -> dict[str, float]:
    return {f"{part['element']}_{part['shell']}": part["centre"] for part in value_at(document, "pdos.centres") or ()}


def _worst_spilling(document: Mapping[str, Any]) -> float | None:
    return max(value_at(document, "bonding.charge_spilling") or (), default=None)


CREATED = Column("created_at", "created_at", "", MOMENT)
ORIGIN = (Column("provenance", "origin.provenance"), Column("fw_id", "origin.fw_id", "", WHOLE))
FAILURE = _plain("outcome", "reason", "message")
RUN = (
    Column("interventions", _length("interventions"), "", WHOLE),
    Column("overrides", _length("overrides"), "", WHOLE),
    *_plain("folder"),
)

_BRANCHES: Mapping[str, tuple[Column, ...]] = {
    "static": (
        Column("energy", "static.energy", "eV", NUMBER),
        Column("gap", "static.edges.gap", "eV", NUMBER),
        Column("volume", "static.volume", "Å^3", NUMBER),
        Column("total_magnetization", "static.total_magnetization", "Bohr magnetons", NUMBER),
    ),
    "pdos": (
        Column("fermi_energy", "pdos.fermi_energy", "eV", NUMBER),
        Column("centre_{}", _band_centres, "eV", NUMBER),
    ),
    "gap": (
        Column("functional", "gap.pbe.functional"),
        Column("is_metal", "gap.pbe.is_metal"),
        Column("pbe_gap", "gap.pbe.gap", "eV", NUMBER),
        Column("hybrid_gap", "gap.hybrid.gap", "eV", NUMBER),
        Column("hybrid_is_direct", "gap.hybrid.is_direct"),
    ),
    "bonding": (
        Column("mean_strength", "bonding.mean_strength", "eV", NUMBER),
        Column("strength_{}", "bonding.mean_by_pair", "eV", NUMBER),
        Column("charge_spilling", _worst_spilling, "", NUMBER),
    ),
    "bader": (Column("charge_{}", _mean_charges, "e", NUMBER),),
    "density_difference": (
        Column("displaced_charge", "density_difference.displaced_charge", "e", NUMBER),
        Column("integral", "density_difference.integral", "e", NUMBER),
    ),
}
BRANCHES = tuple(_BRANCHES)


def follow_up_columns(branch: str | None) -> tuple[Column, ...]:
    """Return the columns of one branch of the follow-ups, or of all."""
    wanted = _BRANCHES.values() if branch is None else (_BRANCHES[branch],)
    found = dict.fromkeys(column for part in wanted for column in part)
    return (
        *_plain("campaign", "key", "composition", "level", "branch", *(column.name for column in FAILURE)),
        *found,
        *_numbers("s", "wall_s"),
        *RUN,
        *ORIGIN,
        CREATED,
    )


# `provenance` of documents that have none of their own is their campaign's, and is added by the reader.
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    names.CAMPAIGNS: (
        Column("campaign", "_id"),
        *_plain("state", "stage"),
        *_whole("round"),
        Column("engine", "definition.engine.name"),
        *_plain("provenance"),
        Column("elements", "definition.elements"),
        Column("labels_wanted", "definition.labels.total", "", WHOLE),
        *_plain("shortlist", "message"),
        Column("started_at", "started_at", "", MOMENT),
        Column("finished_at", "finished_at", "", MOMENT),
    ),
    names.CANDIDATES: (
        *_plain("campaign", "key", "host", "level", "composition", "elements", "counts"),
        *_whole("mask", "multiplicity"),
    ),
    names.LABELS: (
        *_plain("campaign", "key", "composition", "level", "purpose"),
        *_whole("round"),
        *FAILURE,
        *_numbers("eV/atom", "formation_energy", "formation_energy_before", "relaxation_energy", within="relaxation."),
        Column("energy", "relaxation.energy_after", "eV", NUMBER),
        Column("n_atoms", "relaxation.n_atoms", "", WHOLE),
        Column("volume", "relaxation.volume_after", "Å^3", NUMBER),
        *_numbers("percent", "volume_change_percent", within="relaxation."),
        *_numbers("eV/Å", "max_force", within="relaxation."),
        Column("steps", "relaxation.steps", "", WHOLE),
        *_numbers("s", "wall_s", within="relaxation."),
        Column("cores", "relaxation.cores", "", WHOLE),
        Column("core_hours", _core_hours, "h", NUMBER),
        *RUN,
        *ORIGIN,
        CREATED,
    ),
    names.PREDICTIONS: (
        *_plain("campaign", "round", "key", "composition", "level"),
        *_numbers(
            "eV/atom",
            "formation_energy",
            "formation_energy_std",
            "relaxation_energy",
            "relaxation_energy_std",
        ),
    ),
    names.VERDICTS: (
        *_plain("campaign", "round", "composition", "noble", "passed", "rejected_by"),
        *_whole("rank"),
        Column("score", "score", "", NUMBER),
        Column("{}", "voltages", "V", NUMBER),
        Column("uncertainty", "uncertainty", "eV/atom", NUMBER),
        Column("formation_energy_{}", "formation_energies", "eV/atom", NUMBER),
        Column("relaxation_energy_{}", "relaxation_energies", "eV/atom", NUMBER),
        Column("representative_{}", "representatives"),
        Column("margin_{}", _margins, "of the rule: eV/atom or V", NUMBER),
    ),
    names.VALIDATIONS: (
        *_plain("campaign", "composition", "pristine", "noble", "profile_holds"),
        *_whole("rank"),
        Column("{}", "voltages", "V", NUMBER),
        Column("predicted_{}", "predicted_voltages", "V", NUMBER),
        Column("formation_energy_{}", "formation_energies", "eV/atom", NUMBER),
        Column("predicted_formation_energy_{}", "predicted_formation_energies", "eV/atom", NUMBER),
        Column("volume_{}", "volumes", "Å^3", NUMBER),
        Column("volume_change_{}", "volume_changes", "percent", NUMBER),
        Column("label_{}", "labels"),
        Column("missing_{}", "missing"),
        *_plain("provenance"),
        CREATED,
    ),
    names.MODELS: (
        *_plain("campaign", "round", "target", "seed", "pretrained", "n_train", "n_held_out", "epochs"),
        *_numbers("", "r2", within="metrics."),
        *_numbers("eV/atom", "mae", "rmse", within="metrics."),
        Column("pretrained_r2", "pretrained_metrics.r2", "", NUMBER),
        Column("pretrained_mae", "pretrained_metrics.mae", "eV/atom", NUMBER),
        *_numbers("s", "wall_s"),
        *_plain("data_hash", "weights_sha256", "provenance"),
        CREATED,
    ),
    names.REFERENCES: (
        *_plain("element", "phase"),
        *_numbers("eV/atom", "energy_per_atom"),
        *_whole("n_atoms"),
        *_numbers("eV/Å", "max_force"),
        *ORIGIN,
        CREATED,
    ),
    names.ATTEMPTS: (
        *_plain("campaign", "kind", "key", "attempt"),
        *FAILURE,
        *_plain("considered", "action"),
        *_whole("fw_id", "launch_id"),
        CREATED,
    ),
    names.EVENTS: (*_plain("campaign", "kind", "message", "details"), CREATED),
}

JOB_COLUMNS: tuple[Column, ...] = (
    *_plain("campaign", "kind", "key", "category", "state"),
    *_whole("fw_id", "launch_id"),
    *_plain("launch_state", "host", "directory"),
    Column("started_at", "started_at", "", MOMENT),
    Column("ended_at", "ended_at", "", MOMENT),
    *_numbers("s", "runtime_s"),
)
BOND_COLUMNS: tuple[Column, ...] = (
    *_plain("campaign", "key", "composition", "level", "pair", "centre", "ligand"),
    *_numbers("Å", "length"),
    *_numbers("eV", "strength"),
    *_plain("provenance"),
)
INTERVENTION_COLUMNS: tuple[Column, ...] = _plain(
    "campaign", "kind", "key", "outcome", "handler", "errors", "changes", "provenance"
)
PARITY_COLUMNS: tuple[Column, ...] = (
    *_plain("campaign", "round", "target", "seed", "key", "held_out"),
    *_numbers("eV/atom", "true", "predicted", "pretrained"),
    *_plain("provenance"),
)
CURVE_COLUMNS: tuple[Column, ...] = (
    *_plain("campaign", "round", "target", "seed", "epoch"),
    *_numbers("(eV/atom)^2", "train", "validation"),
    *_plain("provenance"),
)
COST_COLUMNS: tuple[Column, ...] = (
    *_plain("campaign", "stage"),
    *_whole("runs"),
    *_numbers("h", "wall_hours", "core_hours"),
    *_plain("provenance"),
)


def frame_of(documents: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Lay documents out as a frame.

    Parameters
    ----------
    documents : iterable of mapping
        One row each.
    columns : sequence of Column
        In this order.

    Returns
    -------
    pandas.DataFrame
        Its ``attrs["units"]`` maps each column that has a unit to it.
    """
    import pandas as pd

    rows = documents if isinstance(documents, list) else list(documents)
    made: dict[str, Any] = {}
    units: dict[str, str] = {}
    for column in columns:
        values = column.values(rows)
        parts = _spread(values) if "{}" in column.name else {"": values}
        for key, held in parts.items():
            name = column.name.format(key)
            made[name] = _series(held, column.kind)
            if column.unit:
                units[name] = column.unit
    frame = pd.DataFrame(made)
    frame.attrs["units"] = units
    return frame


def _spread(values: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    """Return the values of each key that any of the mappings has."""
    keys = dict.fromkeys(key for value in values if value for key in value)
    return {key: [(value or {}).get(key) for value in values] for key in keys}


def _series(values: list[Any], kind: str) -> pd.Series:
    import pandas as pd

    if kind == NUMBER:
        return pd.Series(values, dtype="float64")
    if kind == WHOLE:
        return pd.Series(values, dtype="Int64")
    if kind == MOMENT:
        return pd.to_datetime(pd.Series(values, dtype=object), utc=True, format="ISO8601")
    nested = any(isinstance(value, list | dict) for value in values[:1])
    return pd.Series(values, dtype=object) if nested or not values else pd.Series(values)
