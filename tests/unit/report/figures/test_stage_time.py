"""Wall time per stage."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.report import factories

from cathodeflow.records.outcomes import Stage
from cathodeflow.report.figures.stage_time import stage_spans, stage_time


def test_stages_add_up_to_the_campaign() -> None:
    campaign = factories.campaign()
    spans = stage_spans(campaign, factories.START + timedelta(days=1))
    assert sum(span.seconds for span in spans) == pytest.approx(18.6 * 60)
    assert Stage.DONE not in {span.stage for span in spans}
    assert not any(span.open for span in spans)


def test_a_stage_that_runs_is_counted_until_now() -> None:
    contents = factories.launched_contents()
    (span,) = stage_spans(contents.campaign, factories.START + timedelta(seconds=90))
    assert (span.seconds, span.open) == (90, True)
    assert stage_time([span]).data[0].text == ("1 min 30 s so far",)
