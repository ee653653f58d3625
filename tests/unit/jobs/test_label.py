"""A label holds the energies it was made from, or the reason why it is none."""

from __future__ import annotations

import pytest

from cathodeflow.errors import CalculationError
from cathodeflow.jobs.label import label
from cathodeflow.records.label import LabelRecord
from cathodeflow.records.outcomes import Outcome, Reason

HOST = {"packaged": "lifepo4"}
ENGINE = {"name": "pair", "max_force": 0.2}
REFERENCES = {"Li": -0.2, "Fe": -0.3, "Mo": -0.2, "P": -0.4, "O": 0.0}


def make(engine=ENGINE, references=REFERENCES, **changes):
    arguments = {"key": "lifepo4-Li1-Fe2Mo2-3", "level": "Li1", "elements": ["Fe", "Mo"], "mask": 3} | changes
    return label.original(host=HOST, engine=engine, references=references, **arguments)


def record(output):
    return LabelRecord.model_validate({"_id": "c/k", "campaign": "c", "purpose": "training", "round": 0, **output})


def test_energies_follow_from_the_total_energies_and_references():
    made = record(make())
    assert made.outcome is Outcome.DONE
    assert made.composition == "Fe2Mo2"
    relaxation = made.relaxation
    assert relaxation is not None
    counts = {"Li": 4, "Fe": 2, "Mo": 2, "P": 4, "O": 16}
    elements = sum(number * REFERENCES[element] for element, number in counts.items())
    assert relaxation.n_atoms == 28
    assert relaxation.formation_energy == pytest.approx((relaxation.energy_after - elements) / 28)
    assert relaxation.formation_energy_before == pytest.approx((relaxation.energy_before - elements) / 28)
    assert relaxation.relaxation_energy == pytest.approx((relaxation.energy_before - relaxation.energy_after) / 28)
    assert relaxation.max_force <= 0.2
    assert made.origin.provenance == "pair"


def test_a_missing_reference_is_said_before_anything_is_relaxed():
    made = record(make(references={"Li": 0.0, "Fe": 0.0, "P": 0.0, "O": 0.0}))
    assert made.outcome is Outcome.QUARANTINED
    assert made.reason is Reason.MISSING_REFERENCE
    assert "Mo" in made.message
    assert made.relaxation is None


def test_what_did_not_converge_is_kept_for_looking_at():
    made = record(make(engine={**ENGINE, "max_steps": 2}))
    assert made.outcome is Outcome.QUARANTINED
    assert made.reason is Reason.NOT_CONVERGED
    assert made.relaxation is not None
    assert not made.relaxation.converged


def test_the_campaigns_volume_limit_is_applied():
    assert record(make(max_volume_change=1e-6)).reason is Reason.EXPLODED_VOLUME


def test_an_engine_that_fails_fails_the_job():
    failing = {**ENGINE, "parameters": {"fail_compositions": ["Fe2Mo2"]}}
    with pytest.raises(CalculationError, match="rehearsed failure"):
        make(engine=failing)


def test_chgnet_labels_a_small_host():
    made = record(
        make(
            engine={"name": "mlff", "max_force": 0.3},
            elements=["Fe", "Mn"],
            references={"Li": -1.9, "Fe": -8.4, "Mn": -9.1, "P": -5.4, "O": -4.8},
        )
    )
    assert made.outcome is Outcome.DONE
    assert made.relaxation is not None
    assert -3.5 < made.relaxation.formation_energy < -1.5
    assert made.origin.provenance == "mlff:chgnet-0.3.0"
    assert made.origin.software["chgnet"]
