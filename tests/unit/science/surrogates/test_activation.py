import math

import numpy as np
import pytest
import torch

from cathodeflow.science.surrogates.activation import softplus2


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_the_compiled_activation_and_its_slope_are_those_of_torch(scale):
    values = scale * np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    compiled = torch.tensor(values, requires_grad=True)
    plain = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    weight = torch.linspace(-1, 1, 280).reshape(40, 7)
    (softplus2(compiled) * weight).sum().backward()
    (softplus2(plain) * weight).sum().backward()
    with torch.no_grad():
        assert softplus2(compiled.detach()).numpy() == pytest.approx(softplus2(plain).numpy(), abs=2e-6, rel=1e-6)
    forward = softplus2(compiled).detach().numpy()
    assert forward == pytest.approx(softplus2(plain.detach()).numpy(), abs=2e-6, rel=1e-6)
    assert compiled.grad.numpy() == pytest.approx(plain.grad.numpy(), abs=1e-6)


def test_the_activation_is_zero_at_zero_and_bounded_below():
    x = torch.tensor([0.0, -50.0, 50.0], requires_grad=True)
    assert softplus2(x).tolist() == pytest.approx([0.0, -math.log(2), 50 - math.log(2)], abs=1e-5)


def test_a_transposed_tensor_keeps_its_order():
    x = torch.arange(6.0).reshape(2, 3).T.requires_grad_(requires_grad=True)
    assert torch.allclose(softplus2(x), softplus2(x.detach()), atol=1e-6)
