"""What a training takes and hands on."""

from __future__ import annotations

import base64

import pytest

from cathodeflow.errors import ModelError
from cathodeflow.jobs.train import training_settings, weights_bytes


def test_weights_survive_the_way_through_a_document():
    assert weights_bytes(base64.b64encode(b"\x00\xff weights").decode()) == b"\x00\xff weights"


def test_damaged_weights_are_refused():
    with pytest.raises(ModelError, match="train again"):
        weights_bytes("not base64!")


def test_the_definitions_words_reach_the_training():
    settings = training_settings({"pretrained": "x", "seeds": 3, "batch_size": 7, "max_epochs": 9}, split_seed=4)
    assert (settings.batch_size, settings.max_epochs, settings.split_seed) == (7, 9, 4)
    assert settings.learning_rate == 1e-3
