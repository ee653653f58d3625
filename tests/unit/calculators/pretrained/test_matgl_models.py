import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from cathodeflow.calculators.pretrained.loading import load_pretrained
from cathodeflow.calculators.pretrained.matgl_models import convert_matgl
from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.graphs import atomic_numbers, graph_template
from cathodeflow.science.surrogates.megnet import dump_weights, parse_weights
from cathodeflow.science.surrogates.prediction import predict_level


@pytest.fixture(scope="module")
def theirs():
    """A MEGNet of matgl with random weights, large enough to show every part."""
    from matgl.models import MEGNet

    torch.manual_seed(0)
    return MEGNet(cutoff=4.5, niters_set2set=3).eval()


def crystal() -> Structure:
    lattice = Lattice.from_parameters(4.1, 4.3, 4.6, 88, 95, 91)
    return Structure(lattice, ["Na", "Fe", "O", "O"], [[0.02, 0, 0], [0.5, 0.48, 0], [0.5, 0, 0.51], [0, 0.5, 0.5]])


def test_a_saved_matgl_model_gives_the_values_matgl_gives(theirs, tmp_path):
    theirs.save(str(tmp_path / "saved"))
    ours = load_pretrained(str(tmp_path / "saved"), tmp_path)
    expected = float(theirs.predict_structure(crystal()))
    assert ours.predict_structure(crystal()) == pytest.approx(expected, abs=2e-6)
    assert parse_weights(dump_weights(ours)).predict_structure(crystal()) == ours.predict_structure(crystal())


def test_whole_levels_are_predicted_too(theirs):
    ours = convert_matgl(theirs)
    structure = crystal()
    rows = np.array([[26], [25], [42]])
    result = predict_level(
        {"e": [ours]}, graph_template(structure, 4.5), atomic_numbers(structure), np.array([1]), rows
    )
    plain = []
    for number in rows[:, 0]:
        structure.replace(1, int(number))
        plain.append(float(theirs.predict_structure(structure)))
    assert result.mean["e"] == pytest.approx(plain, abs=2e-6)


def test_an_element_the_matgl_model_lacks_is_refused(theirs):
    structure = crystal()
    structure.replace(1, "Po")
    with pytest.raises(ModelError, match="without the element of atomic number 84"):
        convert_matgl(theirs).predict_structure(structure)


def test_another_architecture_is_refused():
    with pytest.raises(ModelError, match="Linear of matgl is not a MEGNet"):
        convert_matgl(torch.nn.Linear(2, 2))
