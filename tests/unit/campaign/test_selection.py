from __future__ import annotations

from pathlib import Path

import pytest
from tests.campaign_world import LAWFUL, definition, launch

from cathodeflow.campaign import transitions
from cathodeflow.campaign.stages.selection import choose_shortlist
from cathodeflow.campaign.stages.work import StageContext
from cathodeflow.records.verdict import VerdictRecord


def verdict(composition: str, rank: int | None, *, noble: bool) -> VerdictRecord:
    empty = {"voltages": {}, "relaxation_energies": {}, "formation_energies": {}, "representatives": {}}
    return VerdictRecord.model_validate(
        empty
        | {
            "_id": f"trial/r0/{composition}",
            "campaign": "trial",
            "round": 0,
            "composition": composition,
            "elements": [],
            "counts": [],
            "noble": noble,
            "passed": rank is not None,
            "rank": rank,
            "score": None,
            "uncertainty": None,
            "rejected_by": None if rank else "step_shape",
            "rules": [],
        }
    )


def shortlist_of(folder: Path, per_list: int, *verdicts: VerdictRecord) -> list[str]:
    project = launch(folder, definition(validation={"per_list": per_list}))
    transitions.record_many_once(project, "verdicts", verdicts)
    return choose_shortlist(StageContext(project, transitions.read_campaign(project, "trial"), LAWFUL), 0)


NON_NOBLE = [("Mo8", 2), ("V4Mo4", 3), ("V6Mo2", None)]
NOBLE = [("Ru8", 1), ("V4Ru4", 2), ("V2Ru6", 3)]


@pytest.mark.parametrize("pristine_rank", [1, 4, None])
def test_the_pristine_host_takes_no_place_in_the_lists(tmp_path: Path, pristine_rank: int | None) -> None:
    verdicts = [verdict("V8", pristine_rank, noble=False)]
    verdicts += [verdict(name, rank and rank - (pristine_rank != 1), noble=False) for name, rank in NON_NOBLE]
    verdicts += [verdict(name, rank, noble=True) for name, rank in NOBLE]
    assert shortlist_of(tmp_path, 2, *verdicts) == ["V8", "Mo8", "V4Mo4", "Ru8", "V4Ru4"]


@pytest.mark.parametrize(("per_list", "rank"), [(0, 2), (3, None)])
def test_nothing_is_validated_where_none_is_wanted_or_only_the_pristine_host_passed(
    tmp_path: Path, per_list: int, rank: int | None
) -> None:
    assert shortlist_of(tmp_path, per_list, verdict("V8", 1, noble=False), verdict("Mo8", rank, noble=False)) == []
