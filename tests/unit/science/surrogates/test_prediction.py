import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.published_weights import megnet_2019

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates import prediction
from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template
from cathodeflow.science.surrogates.kernels import read_out
from cathodeflow.science.surrogates.megnet import MEGNet, dump_weights, parse_weights
from cathodeflow.science.surrogates.prediction import predict_level, pretrained_relaxation_energy

METALS = np.array([22, 23, 25, 26, 42])


def cell() -> Structure:
    """A small triclinic oxide with two neighbouring metal sites, so that both ends of a bond can be substituted."""
    lattice = Lattice.from_parameters(4.1, 4.4, 5.2, 84, 97, 93)
    sites = [[0.02, 0, 0], [0.5, 0.48, 0.03], [0.5, 0, 0.51], [0, 0.5, 0.47], [0.3, 0.7, 0.75]]
    return Structure(lattice, ["V", "V", "O", "O", "Na"], sites)


def level():
    structure = cell()
    return graph_template(structure, 5.0), atomic_numbers(structure), np.array([0, 1])


def decorations(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(METALS, size=(n, 2))


def plain(model: MEGNet, rows: np.ndarray) -> list[float]:
    values = []
    for row in rows:
        structure = cell()
        for site, number in zip((0, 1), row, strict=True):
            structure.replace(site, int(number))
        values.append(model.predict_structure(structure))
    return values


def test_tables_give_the_values_of_the_plain_loop():
    rows = decorations(40)
    result = predict_level({"formation_energy": [megnet_2019()]}, *level(), rows)
    assert result.mean["formation_energy"] == pytest.approx(plain(megnet_2019(), rows), abs=5e-6)


def test_a_network_with_other_weights_and_scale_is_followed_too():
    torch.manual_seed(1)
    model = MEGNet()
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn(weight.shape)
    model.target_mean.fill_(0.3)
    model.target_std.fill_(2.0)
    rows = decorations(10)
    result = predict_level({"relaxation_energy": [model]}, *level(), rows)
    assert result.mean["relaxation_energy"] == pytest.approx(plain(model, rows), rel=2e-5, abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 25), st.integers(1, 2), st.randoms())
def test_a_prediction_does_not_depend_on_its_neighbours_order_shard_or_threads(cut, threads, shuffler):
    rows = decorations(26)
    whole = predict_level({"e": [megnet_2019()]}, *level(), rows).mean["e"]
    order = list(range(26))
    shuffler.shuffle(order)
    parts = [order[:cut], order[cut:]]
    for part in parts:
        shard = predict_level({"e": [megnet_2019()]}, *level(), rows[part], threads=threads).mean["e"]
        assert np.array_equal(shard, whole[part])


def test_groups_of_elements_give_the_values_of_one_table(monkeypatch):
    rows = decorations(60)
    whole = predict_level({"e": [megnet_2019()]}, *level(), rows).mean["e"]
    monkeypatch.setattr(prediction, "TABLE_ROWS", 600)
    assert np.array_equal(predict_level({"e": [megnet_2019()]}, *level(), rows).mean["e"], whole)


def test_ensembles_give_mean_and_deviation_of_their_members():
    other = parse_weights(dump_weights(megnet_2019()))
    other.target_mean.fill_(0.2)
    rows = decorations(9)
    result = predict_level({"a": [megnet_2019(), other], "b": [other]}, *level(), rows)
    assert result.members["a"].shape == (2, 9)
    assert result.mean["a"] == pytest.approx(result.members["a"].mean(axis=0))
    assert result.std["a"] == pytest.approx(np.full(9, 0.1), abs=1e-6)
    assert np.array_equal(result.std["b"], np.zeros(9))
    assert np.array_equal(result.mean["b"], result.members["a"][1])


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_counts_every_crystal_of_every_network(threads):
    told = []
    predict_level({"a": [megnet_2019()] * 2}, *level(), decorations(20), threads, lambda *row: told.append(row))
    assert told[-1] == (40, 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_no_candidates_give_empty_results():
    result = predict_level({"a": [megnet_2019()]}, *level(), np.zeros((0, 2), dtype=np.int64))
    assert result.mean["a"].shape == (0,)


def test_torch_keeps_its_threads():
    before = torch.get_num_threads()
    predict_level({"a": [megnet_2019()]}, *level(), decorations(3))
    assert torch.get_num_threads() == before


def test_a_graph_of_another_cutoff_is_refused():
    template = graph_template(cell(), 4.0)
    with pytest.raises(ModelError, match="reaches 4 angstrom, the network 5"):
        predict_level({"a": [megnet_2019()]}, template, *level()[1:], decorations(2))


def test_an_empty_ensemble_and_an_unknown_element_are_refused():
    with pytest.raises(ModelError, match="is empty"):
        predict_level({"a": []}, *level(), decorations(2))
    with pytest.raises(ModelError, match="not 96"):
        predict_level({"a": [megnet_2019()]}, *level(), np.array([[23, 96]]))


def test_the_compiled_read_out_is_the_networks():
    torch.manual_seed(2)
    readout = megnet_2019().edge_readout
    x = torch.randn(50, 32)
    with torch.no_grad():
        expected = readout(x, torch.zeros(50, dtype=torch.long), 1)[0].numpy()
        keys = (x @ readout.project.weight.T).numpy().copy()
    out, score = np.empty(32, dtype=np.float32), np.empty(50, dtype=np.float32)
    weights = [readout.recurrent.weight.detach().numpy(), readout.recurrent.bias.detach().numpy()]
    read_out(keys, readout.project.bias.detach().numpy(), *weights, readout.steps, score, out)
    assert out == pytest.approx(expected, abs=2e-6)


def test_a_relaxation_that_changes_nothing_has_no_energy():
    moved = cell()
    moved.translate_sites([4], [0.02, 0.0, 0.0])
    values = pretrained_relaxation_energy(megnet_2019(), [cell(), cell()], [cell(), moved])
    assert values[0] == 0.0
    assert values[1] > 0.0
