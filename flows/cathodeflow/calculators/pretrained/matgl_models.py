"""MEGNets of matgl, by the name or path that `matgl.load_model` takes, as networks of ours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cathodeflow.errors import ModelError

if TYPE_CHECKING:
    from cathodeflow.science.surrogates.megnet import MEGNet

REFUSALS = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError)


def load_matgl(name: str) -> MEGNet:
    """Load a MEGNet through matgl and convert it.

    Parameters
    ----------
    name : str
        A name on matgl's hub, or the folder of a saved model.

    Returns
    -------
    MEGNet
        Ours, of style "matgl", in eval mode.

    Raises
    ------
    ModelError
        If matgl cannot load it (unknown name, or no way to the hub), or it is not a MEGNet of the usual shape.
    """
    import matgl

    try:
        loaded = matgl.load_model(name)
    except REFUSALS as error:
        raise ModelError(
            f"matgl cannot load {name} ({type(error).__name__}); give megnet-2019, a weights file, a saved matgl "
            "model, or a hub name where the hub can be reached"
        ) from error
    return convert_matgl(loaded)


def convert_matgl(loaded: Any) -> MEGNet:
    """Copy a matgl MEGNet (or one with a normalized target) into a network of ours.

    Raises
    ------
    ModelError
        If it is something else.
    """
    mean, std = 0.0, 1.0
    transformer = getattr(loaded, "transformer", None)
    if transformer is not None:
        mean, std, loaded = float(transformer.mean), float(transformer.std), loaded.model
    try:
        model = _copy(loaded)
    except (AttributeError, KeyError, RuntimeError, IndexError) as error:
        raise ModelError(f"{type(loaded).__name__} of matgl is not a MEGNet of the usual shape") from error
    model.target_mean.fill_(mean)
    model.target_std.fill_(std)
    return model.eval()


def _copy(source: Any) -> MEGNet:
    import torch
    from pymatgen.core import Element
    from torch import nn

    from cathodeflow.science.surrogates.megnet import MEGNet, MEGNetConfig

    basis = source.bond_expansion.rbf
    config = MEGNetConfig(
        cutoff=float(source.cutoff),
        basis_end=float(basis.centers[-1]),
        n_basis=len(basis.centers),
        basis_width=1.0 / math.sqrt(float(basis.width)),
        readout_steps=int(source.edge_s2s.n_iters),
        n_blocks=len(source.blocks),
        style="matgl",
    )
    model = MEGNet(config)

    def fill(stack: Any, mlp: Any, order: tuple[int, ...] = ()) -> None:
        linears = [layer for layer in mlp.layers if isinstance(layer, nn.Linear)]
        for number, linear in enumerate(linears):
            state = {name: value.detach().clone() for name, value in linear.state_dict().items()}
            if number == 0 and order:
                parts = state["weight"].split(32, dim=1)
                state["weight"] = torch.cat([parts[i] for i in order], dim=1)
            stack.linear(number).load_state_dict(state)

    rows = torch.full_like(model.embedding.weight, math.nan)
    for row, symbol in enumerate(source.element_types):
        if config.n_species > Element(symbol).Z:
            rows[Element(symbol).Z] = source.embedding.layer_node_embedding.weight[row].detach()
    model.embedding.weight.data = rows
    fill(model.atom_encoder, source.node_encoder)
    fill(model.edge_encoder, source.edge_encoder)
    fill(model.state_encoder, source.state_encoder)
    blocks: Any = model.blocks
    for block, theirs in zip(blocks, source.blocks, strict=True):
        if theirs.has_dense:
            fill(block.atom_dense, theirs.node_func)
            fill(block.edge_dense, theirs.edge_func)
            fill(block.state_dense, theirs.state_func)
        fill(block.edge_update, theirs.conv.edge_func)
        fill(block.atom_update, theirs.conv.node_func, (1, 0, 2))  # theirs: atom, bonds, state
        fill(block.state_update, theirs.conv.state_func, (1, 2, 0))  # theirs: state, bonds, atoms
    readouts: Any = (model.atom_readout, model.edge_readout)
    readouts[0].lstm.load_state_dict(source.node_s2s.lstm.state_dict())
    readouts[1].lstm.load_state_dict(source.edge_s2s.lstm.state_dict())
    fill(model.head, source.output_proj)
    return model
