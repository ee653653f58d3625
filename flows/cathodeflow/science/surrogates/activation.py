"""The network's activation, log((1 + exp(x)) / 2), and a compiled form of it for training on the CPU.

Evaluated by torch it takes almost half of a training step there; the compiled one, which differs by less than 1e-6,
a tenth.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cathodeflow.science.surrogates import kernels

LOG2 = math.log(2.0)


class _CompiledSoftplus2(torch.autograd.Function):
    """The activation with compiled loops forward and backward, float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        kernels.activate(x.detach().numpy().reshape(-1), out.numpy().reshape(-1))
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (x,) = ctx.saved_tensors
        out = torch.empty_like(x)
        gradient = gradients[0].contiguous()
        kernels.activate_back(x.detach().numpy().reshape(-1), gradient.numpy().reshape(-1), out.numpy().reshape(-1))
        return out


def softplus2(x: Tensor) -> Tensor:
    """Shifted softplus, of any shape."""
    if x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu" and x.dtype == torch.float32:
        result: Tensor = _CompiledSoftplus2.apply(x)
        return result
    return functional.softplus(x).sub_(LOG2)
