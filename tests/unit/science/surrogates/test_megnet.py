import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from tests.published_weights import megnet_2019

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template
from cathodeflow.science.surrogates.megnet import MEGNet, MEGNetConfig, dump_weights, make_batch, parse_weights


def crystal(*symbols: str) -> Structure:
    lattice = Lattice.from_parameters(4.1, 4.3, 4.6, 88, 95, 91)
    sites = [[0.02, 0, 0], [0.5, 0.48, 0], [0.5, 0, 0.51], [0, 0.5, 0.5]]
    return Structure(lattice, symbols, sites)


def test_weights_come_back_from_bytes_with_shape_and_scaling():
    torch.manual_seed(0)
    model = MEGNet(MEGNetConfig(cutoff=4.0, basis_end=5.0, readout_steps=3))
    model.target_mean.fill_(-1.5)
    model.target_std.fill_(0.25)
    again = parse_weights(dump_weights(model))
    assert again.config == model.config
    structure = crystal("Na", "Fe", "O", "O")
    assert again.predict_structure(structure) == model.predict_structure(structure)


def test_the_network_is_in_eval_mode_and_repeats_itself():
    model = parse_weights(dump_weights(megnet_2019()))
    assert not any(module.training for module in model.modules())
    structure = crystal("Na", "Fe", "O", "O")
    assert model.predict_structure(structure) == model.predict_structure(structure)


def test_damaged_weights_are_refused():
    data = dump_weights(MEGNet())
    for broken in (b"", data[: len(data) // 2], b"not weights at all"):
        with pytest.raises(ModelError, match="cannot be read"):
            parse_weights(broken)


def test_weights_of_another_format_are_refused():
    import io

    content = torch.load(io.BytesIO(dump_weights(MEGNet())), weights_only=True)
    content["format"] = 99
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with pytest.raises(ModelError, match="format 99"):
        parse_weights(buffer.getvalue())


def test_stacked_crystals_get_what_each_gets_alone():
    model = megnet_2019()
    structures = [crystal("Na", "Fe", "O", "O"), crystal("Li", "Mn", "S", "S"), crystal("K", "V", "F", "O")]
    structures[1].scale_lattice(95.0)
    templates = [graph_template(structure, 5.0) for structure in structures]
    with torch.no_grad():
        stacked = model(make_batch(templates, [atomic_numbers(structure) for structure in structures]))
    alone = [model.predict_structure(structure) for structure in structures]
    assert stacked.tolist() == pytest.approx(alone, abs=2e-6)


def test_the_prediction_does_not_depend_on_the_order_or_the_choice_of_cell():
    model = megnet_2019()
    structure = crystal("Na", "Fe", "O", "F")
    turned = Structure.from_sites([structure[i] for i in (2, 0, 3, 1)])
    double = structure * (2, 1, 1)
    expected = model.predict_structure(structure)
    assert model.predict_structure(turned) == pytest.approx(expected, abs=5e-6)
    assert model.predict_structure(double) == pytest.approx(expected, abs=5e-6)


def test_an_element_beyond_the_embedding_is_refused():
    with pytest.raises(ModelError, match="1 to 94, not 95"):
        megnet_2019().predict_structure(crystal("Am", "Fe", "O", "O"))


def test_gradients_reach_every_weight():
    model = MEGNet()
    structure = crystal("Na", "Fe", "O", "O")
    batch = make_batch([graph_template(structure, 5.0)], [atomic_numbers(structure)])
    model(batch).sum().backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert not silent
    assert all(np.isfinite(weight.grad.numpy()).all() for weight in model.parameters())
