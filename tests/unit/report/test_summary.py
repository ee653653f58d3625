"""What the summary says of a campaign."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.report import factories

from cathodeflow.report.summary import summary_sentences, tiles


def test_labels_of_a_round_that_is_not_trained_on_yet_are_not_claimed() -> None:
    contents = factories.campaign_contents(factories.DEMO_ELEMENTS, 30, 1, seeds=1)
    assert "retrained on them" in " ".join(summary_sentences(contents))
    newer = [label.model_copy(update={"round": 2 if i >= 20 else 0}) for i, label in enumerate(contents.labels)]
    assert "retrained on the first 20" in " ".join(summary_sentences(replace(contents, labels=newer)))


def test_a_stopped_campaign_gives_its_reason() -> None:
    contents = factories.launched_contents()
    stopped = contents.campaign.model_copy(update={"state": "stopped", "message": "too many failed"})
    assert summary_sentences(replace(contents, campaign=stopped))[0].endswith("The reason given: too many failed.")


def test_what_does_not_exist_has_no_tile() -> None:
    assert tiles(factories.launched_contents()) == []
    assert len(tiles(factories.campaign_contents(factories.DEMO_ELEMENTS, 30, 1, seeds=1))) == 7
