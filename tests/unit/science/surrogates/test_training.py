import dataclasses
import functools

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tests.published_weights import megnet_2019

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.datasets import Crystals, TrainingData, crystals_from_structures
from cathodeflow.science.surrogates.ensemble import combine
from cathodeflow.science.surrogates.graphs import atomic_numbers, decorate, graph_template, spread_masks
from cathodeflow.science.surrogates.megnet import dump_weights, parse_weights
from cathodeflow.science.surrogates.metrics import regression_metrics
from cathodeflow.science.surrogates.training import TrainingSettings, fine_tune, predict_crystals

METALS = {23: -0.1, 25: 0.05, 26: 0.1, 28: 0.2, 42: -0.3}
QUICK = TrainingSettings(max_epochs=4, patience=4, trained_blocks=1)


def oxide() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.4), ["V", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@functools.cache
def labelled(n: int = 30, target: str = "formation_energy") -> TrainingData:
    """Rock-salt oxides whose label is a sum over their metals plus what the mixing gives."""
    host = oxide()
    base = atomic_numbers(host)
    sites = np.flatnonzero(base == 23)
    metals = list(METALS)
    masks, rows = np.random.default_rng(4), []
    for i in range(n):
        a, b = metals[i % 5], metals[(i // 5 + 1 + i) % 5]
        mask = 0 if i < 5 else int(masks.integers(1, 15))
        rows.append((a, b, mask))
    numbers = [decorate(base, sites, spread_masks(np.array([mask]), a, b, 4))[0] for a, b, mask in rows]
    shift = [float(np.mean([METALS[int(z)] for z in row[sites]])) for row in numbers]
    raw = predict_crystals(megnet_2019(), Crystals((graph_template(host, 5.0),), np.zeros(n, int), tuple(numbers)))
    values = 0.9 * raw + 0.4 + np.array(shift) if target == "formation_energy" else 0.1 + np.abs(shift)
    return TrainingData(
        target=target,
        keys=tuple(f"c{i:02d}-{row[0]}-{row[1]}-{row[2]}" for i, row in enumerate(rows)),
        crystals=Crystals((graph_template(host, 5.0),), np.zeros(n, dtype=np.int64), tuple(numbers)),
        values=values,
        unary=np.array([len(set(row[sites])) == 1 for row in numbers]),
    )


@functools.cache
def trained(seed: int = 0):
    """One quick training that several tests look at."""
    return fine_tune(megnet_2019(), labelled(), QUICK, seed=seed)


def shuffled(data: TrainingData, seed: int) -> TrainingData:
    order = np.random.default_rng(seed).permutation(len(data))
    return TrainingData(
        data.target,
        tuple(data.keys[i] for i in order),
        Crystals(
            data.crystals.templates, data.crystals.template_of[order], tuple(data.crystals.numbers[i] for i in order)
        ),
        data.values[order],
        data.unary[order],
    )


def test_the_same_data_and_seed_give_the_same_result_to_the_last_bit():
    first = trained(1)
    second = fine_tune(megnet_2019(), shuffled(labelled(), 3), QUICK, seed=1)
    assert first == second


def test_another_seed_gives_another_network_judged_on_the_same_fifth():
    first, second = trained(0), trained(1)
    assert first.weights != second.weights
    assert [row.held_out for row in first.parity] == [row.held_out for row in second.parity]
    assert first.pretrained_metrics == second.pretrained_metrics


@pytest.mark.parametrize("target", ["formation_energy", "relaxation_energy"])
def test_fine_tuning_beats_the_untrained_network_on_the_held_out_fifth(target):
    result = fine_tune(megnet_2019(), labelled(50, target), TrainingSettings(max_epochs=25, trained_blocks=1))
    assert result.metrics.mae < 0.6 * result.pretrained_metrics.mae
    assert result.metrics.r2 > 0.8
    assert result.n_held_out == 10
    assert result.n_train + result.n_validation + result.n_held_out == 50


def test_the_weights_give_the_predictions_of_the_parity_rows():
    data = labelled()
    result = trained()
    again = dict(zip(data.keys, predict_crystals(parse_weights(result.weights), data.crystals), strict=True))
    for row in result.parity:
        assert row.predicted == pytest.approx(again[row.key], abs=1e-6)
    held = [row for row in result.parity if row.held_out]
    assert result.metrics == regression_metrics([row.true for row in held], [row.predicted for row in held])


def test_held_out_labels_do_not_touch_the_weights():
    data = labelled()
    first = trained()
    held = {row.key for row in first.parity if row.held_out}
    values = np.array([v + 5.0 if key in held else v for key, v in zip(data.keys, data.values, strict=True)])
    second = fine_tune(megnet_2019(), dataclasses.replace(data, values=values), QUICK)
    assert first.weights == second.weights


def test_the_starting_network_is_left_as_it_was():
    before = dump_weights(megnet_2019())
    fine_tune(megnet_2019(), labelled(), QUICK)
    assert dump_weights(megnet_2019()) == before
    assert all(weight.requires_grad for weight in megnet_2019().parameters())


@pytest.mark.parametrize("blocks", [0, 2, 3])
def test_frozen_blocks_keep_the_published_weights(blocks):
    settings = TrainingSettings(max_epochs=1, trained_blocks=blocks)
    result = fine_tune(megnet_2019(), labelled(20), settings)
    start, end = megnet_2019().state_dict(), parse_weights(result.weights).state_dict()
    changed = {
        name.split(".")[1] if name.startswith("blocks") else name.split(".")[0]
        for name in start
        if not np.array_equal(start[name], end[name])
    }
    assert changed <= {str(b) for b in range(3 - blocks, 3)} | {
        "head",
        "atom_readout",
        "edge_readout",
        "target_mean",
        "target_std",
    } | ({"embedding", "atom_encoder", "edge_encoder", "state_encoder"} if blocks == 3 else set())


def test_every_epoch_is_told_and_written_down():
    told = []
    result = fine_tune(megnet_2019(), labelled(), QUICK, progress=lambda row, most: told.append((row, most)))
    assert [row for row, _ in told] == list(result.curve)
    assert [row.epoch for row in result.curve] == list(range(1, result.epochs + 1))
    assert {most for _, most in told} == {4}


def test_too_few_labels_are_refused():
    with pytest.raises(ModelError, match="too few"):
        fine_tune(megnet_2019(), labelled(6), QUICK)


def test_a_label_that_is_not_finite_is_refused():
    values = labelled().values.copy()
    values[3] = np.nan
    with pytest.raises(ModelError, match="not a finite number"):
        dataclasses.replace(labelled(), values=values)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"loss": "l1"}, {"learning_rate": -1.0}, {"trained_blocks": 4}])
def test_settings_that_mean_nothing_are_refused(change):
    with pytest.raises(ModelError, match=next(iter(change))):
        TrainingSettings(**change)


def test_the_hash_sees_keys_labels_and_structures_but_not_their_order():
    data = labelled()
    assert shuffled(data, 1).data_hash() == data.data_hash()
    others = [
        dataclasses.replace(data, keys=("x", *data.keys[1:])),
        dataclasses.replace(data, values=data.values + 1e-9),
        dataclasses.replace(data, target="relaxation_energy"),
        dataclasses.replace(data, crystals=dataclasses.replace(data.crystals, numbers=data.crystals.numbers[::-1])),
    ]
    assert len({data.data_hash(), *(other.data_hash() for other in others)}) == 5


def test_structures_of_one_geometry_share_their_graph():
    strained = oxide()
    strained.scale_lattice(strained.volume * 1.02)
    crystals = crystals_from_structures([oxide(), strained, oxide()], 5.0)
    assert len(crystals.templates) == 2
    assert crystals.template_of.tolist() == [0, 1, 0]


def test_an_ensemble_is_the_mean_of_its_members():
    results = [trained(0), trained(1)]
    both = combine(results)
    for i, row in enumerate(both.parity):
        assert row.predicted == pytest.approx(np.mean([r.parity[i].predicted for r in results]))
        assert row.std == pytest.approx(np.std([r.parity[i].predicted for r in results]))
    assert both.metrics.n == results[0].n_held_out


def test_networks_of_different_data_are_no_ensemble():
    first = trained()
    second = fine_tune(megnet_2019(), labelled(20), QUICK)
    with pytest.raises(ModelError, match="different data"):
        combine([first, second])
