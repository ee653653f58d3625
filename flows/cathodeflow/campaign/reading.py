"""A project as a scientist reads it in Python: pandas frames and pymatgen structures, and nothing that writes.

``cathodeflow.open(folder)`` makes it. The embedded store is opened read-only: a running campaign is not held up.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cathodeflow.campaign import frames
from cathodeflow.campaign.crystal import CrystalReader
from cathodeflow.campaign.query import Question, answer
from cathodeflow.campaign.reader import Filter
from cathodeflow.errors import CampaignError
from cathodeflow.records.outcomes import Branch, Purpose, Stage
from cathodeflow.storage import collections as names
from cathodeflow.storage.connection import open_project

if TYPE_CHECKING:
    import pandas as pd

    from cathodeflow.storage.read_only import ReadOnlyDatabase


class ProjectView(CrystalReader):
    """A project, read-only.

    Every frame takes ``campaign``, a name, and ``where``, a MongoDB filter on the collection's documents. Each row says
    its ``provenance``: the engine that made its numbers. A frame whose energies come from several is refused, for they
    must not be compared; ``mix_provenances=True`` gives it all the same. ``frame.attrs["units"]`` holds the units.
    """

    def __repr__(self) -> str:
        return f"ProjectView({str(self.folder)!r})"

    @cached_property
    def database(self) -> ReadOnlyDatabase:
        """Its collections with pymongo's reading methods: ``project.database["labels"].find({…})``."""
        from cathodeflow.storage.read_only import ReadOnlyDatabase

        return ReadOnlyDatabase(self._project.database)

    # -- frames of collections ---------------------------------------------------------------------------------

    def campaigns(self, campaign: str | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Return the campaigns: where each stands, with what engine."""
        return self._frame(names.CAMPAIGNS, campaign, where)

    def candidates(self, campaign: str | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Return the distinct arrangements."""
        return self._frame(names.CANDIDATES, campaign, where)

    def labels(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the labels, quarantined ones included.

        Raises
        ------
        CampaignError
            There is no such campaign, or the energies have several provenances.
        DefinitionError
            The filter cannot be used.
        """
        return self._frame(names.LABELS, campaign, where, mix=mix_provenances)

    def predictions(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the predictions of every round (choose one with ``where={"round": 0}``); raises as `labels`."""
        return self._frame(names.PREDICTIONS, campaign, where, mix=mix_provenances)

    def verdicts(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the verdicts of every round, a column of margins for each rule; raises as `labels`."""
        return self._frame(names.VERDICTS, campaign, where, mix=mix_provenances)

    def validations(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the validated compositions, the pristine host's included; raises as `labels`."""
        return self._frame(names.VALIDATIONS, campaign, where, mix=mix_provenances)

    def follow_ups(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        branch: str | None = None,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the follow-ups of one branch, or of all with the columns of all; raises as `labels`.

        Parameters
        ----------
        campaign, where, mix_provenances
            As everywhere.
        branch : str, optional
            ``static``, ``pdos``, ``gap``, ``bonding``, ``bader`` or ``density_difference``.
        """
        only = None if branch is None else {"branch": _branch(branch)}
        columns = frames.follow_up_columns(branch)
        return self._frame(names.FOLLOW_UPS, campaign, where, only=only, columns=columns, mix=mix_provenances)

    def models(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the trained networks with their errors on the held-out labels; raises as `labels`."""
        return self._frame(names.MODELS, campaign, where, mix=mix_provenances)

    def references(self, where: Filter | None = None, *, mix_provenances: bool = False) -> pd.DataFrame:
        """Return the elemental references, which campaigns share; raises as `labels`."""
        return self._frame(names.REFERENCES, None, where, mix=mix_provenances)

    def attempts(self, campaign: str | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Return the failed attempts at jobs, and what was decided."""
        return self._frame(names.ATTEMPTS, campaign, where)

    def events(self, campaign: str | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Return the campaigns' logs."""
        return self._frame(names.EVENTS, campaign, where)

    def jobs(self, campaign: str | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Return FireWorks' jobs, one row for each time one was started (one for a job that was not).

        Parameters
        ----------
        campaign : str, optional
            Only its jobs.
        where : mapping, optional
            On FireWorks' own documents: ``{"spec._kind": "label", "state": "FIZZLED"}``.
        """
        from cathodeflow.dispatch.jobs import FIREWORKS, JobSummary

        found = self._documents(FIREWORKS, campaign, where)
        launches = self._launches()
        rows: list[dict[str, Any]] = []
        for document in found:
            job = JobSummary.from_document(document)
            said = {name: getattr(job, name) for name in ("campaign", "kind", "key", "category", "state", "fw_id")}
            ids = sorted([*document.get("archived_launches", []), *document.get("launches", [])])
            rows += [{**said, **launches.get(number, {})} for number in ids] or [said]
        return self._with_provenance(rows, frames.JOB_COLUMNS, FIREWORKS)

    def _launches(self) -> dict[int, dict[str, Any]]:
        from cathodeflow.dispatch.jobs import LAUNCHES

        paths = ("launch_id", "state", "host", "launch_dir", "time_start", "time_end", "runtime_secs")
        found = answer(self._project, Question(LAUNCHES, {}, paths))
        return {
            d["launch_id"]: {
                "launch_id": d["launch_id"],
                "launch_state": d["state"],
                "host": d.get("host"),
                "directory": d.get("launch_dir"),
                "started_at": d.get("time_start"),
                "ended_at": d.get("time_end"),
                "runtime_s": d.get("runtime_secs"),
            }
            for d in found
        }

    # -- frames of what documents hold -------------------------------------------------------------------------

    def bonds(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the bonds of the branch ``bonding``, a row for each; ``strength`` is −ICOHP. Raises as `labels`."""
        found = self._documents(names.FOLLOW_UPS, campaign, where, {"branch": Branch.BONDING.value})
        rows = [
            {**document, **bond, "pair": "-".join(bond["elements"]), "provenance": document["origin"]["provenance"]}
            for document in found
            for bond in (document.get("bonding") or {}).get("bonds", ())
        ]
        return self._finished(frames.frame_of(rows, frames.BOND_COLUMNS), names.FOLLOW_UPS, mix=mix_provenances)

    def interventions(self, campaign: str | None = None) -> pd.DataFrame:
        """Return what custodian did to runs: a row for each correction of a label or a follow-up."""
        rows = []
        for collection, kind in ((names.LABELS, "label"), (names.FOLLOW_UPS, "follow_up")):
            for document in self._documents(collection, campaign, {"interventions.0": {"$exists": True}}):
                key = document["key"] if kind == "label" else f"{document['key']}/{document['branch']}"
                said = {"campaign": document["campaign"], "kind": kind, "key": key, "outcome": document["outcome"]}
                said["provenance"] = document["origin"]["provenance"]
                rows += [{**said, **done} for done in document["interventions"]]
        return self._finished(frames.frame_of(rows, frames.INTERVENTION_COLUMNS), "interventions", mix=True)

    def parity(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return labels as computed and as each network predicts them, a row for each; raises as `labels`.

        ``where`` is on the models: ``{"target": "formation_energy", "round": 1}``. ``pretrained`` is what the network
        said before it was trained on the labels.
        """
        return self._of_models("parity", frames.PARITY_COLUMNS, campaign, where, mix=mix_provenances)

    def training_curves(
        self,
        campaign: str | None = None,
        where: Filter | None = None,
        *,
        mix_provenances: bool = False,
    ) -> pd.DataFrame:
        """Return the loss of each network after each epoch; raises as `labels`."""
        return self._of_models("curve", frames.CURVE_COLUMNS, campaign, where, mix=mix_provenances)

    def _of_models(
        self, part: str, columns: tuple[frames.Column, ...], campaign: str | None, where: Filter | None, *, mix: bool
    ) -> pd.DataFrame:
        models = self._documents(names.MODELS, campaign, where, whole=True)
        rows = [{**model, **point} for model in models for point in model[part]]
        return self._finished(frames.frame_of(rows, columns), names.MODELS, mix=mix)

    def learning_curve(self, campaign: str | None = None, *, mix_provenances: bool = False) -> pd.DataFrame:
        """Return the errors of each round: means over the networks of its ensemble; raises as `labels`.

        Returns
        -------
        pandas.DataFrame
            Per campaign, target and round: labels trained on, networks, mean R², MAE and RMSE (eV/atom).
        """
        models = self.models(campaign, mix_provenances=mix_provenances)
        grouped = models.groupby(["campaign", "target", "round", "provenance"], as_index=False)
        means = {name: (name, "mean") for name in ("r2", "mae", "rmse", "pretrained_mae")}
        made = grouped.agg(n_train=("n_train", "max"), networks=("seed", "count"), **means)
        made.attrs = {"units": dict.fromkeys(("mae", "rmse", "pretrained_mae"), "eV/atom")}
        return made

    def costs(self, campaign: str | None = None) -> pd.DataFrame:
        """Return what each stage has cost, quarantined runs included.

        Core-hours are wall time times processors. Labels and follow-ups say their own (follow-ups of old had their
        label's); the training of a network is counted on one.
        """
        from collections import defaultdict

        spent: dict[tuple[str, str, str], list[tuple[float, int]]] = defaultdict(list)
        cores: dict[tuple[str, str], int] = {}
        stages = {Purpose.TRAINING.value: Stage.LABEL.value, Purpose.VALIDATION.value: Stage.VALIDATE.value}
        for label in self._documents(names.LABELS, campaign):
            relaxation = label["relaxation"]
            if relaxation is not None:
                number = cores[label["campaign"], label["key"]] = relaxation.get("cores", 1)
                stage = (label["campaign"], stages[label["purpose"]], label["origin"]["provenance"])
                spent[stage].append((relaxation["wall_s"], number))
        for model in self._documents(names.MODELS, campaign):
            spent[model["campaign"], Stage.TRAIN.value, model["provenance"]].append((model["wall_s"], 1))
        for found in self._documents(names.FOLLOW_UPS, campaign):
            stage = (found["campaign"], f"{Stage.FOLLOW_UP}/{found['branch']}", found["origin"]["provenance"])
            number = found.get("cores") or cores.get((found["campaign"], found["key"]), 1)
            spent[stage].append((found["wall_s"], number))
        hour = frames.SECONDS_PER_HOUR
        rows = [
            {
                "campaign": name,
                "stage": stage,
                "runs": len(runs),
                "wall_hours": sum(wall for wall, _ in runs) / hour,
                "core_hours": sum(wall * number for wall, number in runs) / hour,
                "provenance": provenance,
            }
            for (name, stage, provenance), runs in spent.items()
        ]
        return self._finished(frames.frame_of(rows, frames.COST_COLUMNS), "costs", mix=True)

    def pdos(self, key: str, campaign: str | None = None) -> pd.DataFrame:
        """Return the projected density of states of a candidate.

        Returns
        -------
        pandas.DataFrame
            Indexed by the energy against the Fermi energy, eV; a column ``V_d_up`` (and ``V_d_down``) for each element,
            shell and spin, states/eV per cell, both positive. ``attrs`` holds ``centres`` (of bands, eV),
            ``fermi_energy`` and ``provenance``.

        Raises
        ------
        CampaignError
            The candidate has no density of states; says why.
        """
        import pandas as pd

        found = self._only(names.FOLLOW_UPS, key, campaign, {"branch": Branch.PDOS.value})
        result = found.get("pdos")
        if result is None:
            raise CampaignError(
                f"the density of states of {key} was quarantined ({found['reason']}): {found['message']}"
            )
        curves = {
            f"{curve['element']}_{curve['shell']}_{spin}": curve[spin]
            for curve in result["curves"]
            for spin in ("up", "down")
            if curve[spin]
        }
        frame = pd.DataFrame(curves, index=pd.Index(result["energies"], name="energy", dtype="float64"))
        centres = {f"{part['element']}_{part['shell']}": part["centre"] for part in result["centres"]}
        frame.attrs = {
            "units": {"energy": "eV", **dict.fromkeys(curves, "states/eV")},
            "centres": centres,
            "fermi_energy": result["fermi_energy"],
            "provenance": found["origin"]["provenance"],
        }
        return frame


def open_view(folder: str | Path = ".", uri: str | None = None) -> ProjectView:
    """Open a project to be read.

    Parameters
    ----------
    folder : str or Path
        The project folder.
    uri : str, optional
        ``mongodb://`` address of a server to use in place of the store that the folder names.

    Raises
    ------
    StoreError
        There is no store, it cannot be read, or the server cannot be reached.
    """
    return ProjectView(open_project(Path(folder), uri, read_only=True))


def _branch(name: str) -> str:
    if name not in frames.BRANCHES:
        raise CampaignError(f"there is no branch {name!r} of the follow-ups: there are {', '.join(frames.BRANCHES)}")
    return name
