"""The energy of CHGNet, evaluated with fewer operations than its own layers need.

CHGNet's message functions apply a dense layer to concatenated features: of an edge and its two atoms, or of an angle,
its two bonds and its central atom. A dense layer on a concatenation is the sum of one dense layer per part, so each
part is multiplied once per atom or bond here, and the products are gathered, instead of gathering the features and
multiplying once per edge or angle. The two halves of each gated layer are multiplied together. The numbers are those of
the original layers to float32 rounding (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from chgnet.model.model import BatchedGraph, CHGNet

WIDTH = 64  # features of an atom, a bond and an angle in every published CHGNet


@dataclass(frozen=True)
class _Dense:
    """A dense layer; `weight` is transposed, (inputs, outputs)."""

    weight: Tensor
    bias: Tensor


class SplitGate:
    """CHGNet's gated layer on parts that are not concatenated.

    Parameters
    ----------
    gated : GatedMLP
        With layer normalisation and one or no hidden layer.
    """

    def __init__(self, gated: Any) -> None:
        cores, gates = (
            [layer for layer in mlp.layers if isinstance(layer, nn.Linear)] for mlp in (gated.mlp_core, gated.mlp_gate)
        )
        first = torch.cat([cores[0].weight, gates[0].weight]).detach()
        self.parts = [first[:, at : at + WIDTH].T.contiguous() for at in range(0, first.shape[1], WIDTH)]
        self.bias = torch.cat([cores[0].bias, gates[0].bias]).detach()
        self.second = [_Dense(m[1].weight.detach().T.contiguous(), m[1].bias.detach()) for m in (cores, gates) if m[1:]]
        self.norms: tuple[nn.Module, nn.Module] = (gated.bn1, gated.bn2)

    def __call__(self, first: Tensor) -> Tensor:
        """Finish the layer from the sum of its parts, (n, 128) to (n, 64)."""
        core, gate = first[:, :WIDTH], first[:, WIDTH:]
        if self.second:
            hidden = functional.silu(first)
            core, gate = (
                torch.addmm(dense.bias, half, dense.weight)
                for dense, half in zip(self.second, (hidden[:, :WIDTH], hidden[:, WIDTH:]), strict=True)
            )
        return functional.silu(self.norms[0](core)) * torch.sigmoid(self.norms[1](gate))


class CHGNetEnergy:
    """The interaction energy of one crystal as a function of its batched graph.

    Parameters
    ----------
    model : CHGNet
        Frozen, in eval mode. Its weights are copied.
    """

    def __init__(self, model: CHGNet) -> None:
        self.model: Any = model  # torch modules have no types of their own
        self.atom_gates = [SplitGate(layer.twoBody_atom) for layer in self.model.atom_conv_layers]
        self.bond_gates = [SplitGate(layer.twoBody_bond) for layer in self.model.bond_conv_layers]
        self.angle_gates = [SplitGate(layer.twoBody_bond) for layer in self.model.angle_layers]

    def __call__(self, graph: BatchedGraph) -> Tensor:
        """Return the interaction energy of the crystal, eV, differentiable by positions and strain."""
        model = self.model
        atoms = model.atom_embedding(graph.atomic_numbers - 1)
        bonds = model.bond_embedding(graph.bond_bases_ag)
        atom_weights = model.bond_weights_ag(graph.bond_bases_ag)[graph.directed2undirected]
        has_angles = len(graph.angle_bases) > 0
        if has_angles:
            angles = model.angle_embedding(graph.angle_bases)
            near = _NearBonds(graph)
            bond_weights = near.product(model.bond_weights_bg(graph.bond_bases_bg))
        for number, gate in enumerate(self.atom_gates[:-1]):
            atoms = self._update_atoms(number, gate, atoms, bonds, atom_weights, graph)
            if has_angles:
                bonds = self._update_bonds(number, atoms, bonds, angles, bond_weights, near)
                if number < len(self.angle_gates):
                    update = self.angle_gates[number]
                    angles = angles + update(near.messages(update, atoms, bonds, angles))
        atoms = self._update_atoms(-1, self.atom_gates[-1], atoms, bonds, atom_weights, graph)
        if model.readout_norm is not None:
            atoms = model.readout_norm(atoms)
        energy: Tensor = model.mlp(atoms).sum()
        return energy

    def _update_atoms(
        self, number: int, gate: SplitGate, atoms: Tensor, bonds: Tensor, weights: Tensor, graph: BatchedGraph
    ) -> Tensor:
        center, bond, neighbour = gate.parts
        owner = graph.batched_atom_graph[:, 0]
        first = (
            (torch.addmm(gate.bias, atoms, center)).index_select(0, owner)
            + (bonds @ bond).index_select(0, graph.directed2undirected)
            + (atoms @ neighbour).index_select(0, graph.batched_atom_graph[:, 1])
        )
        gathered = torch.zeros_like(atoms).index_add(0, owner, gate(first) * weights)
        updated: Tensor = self.model.atom_conv_layers[number].mlp_out(gathered) + atoms
        return updated

    def _update_bonds(
        self, number: int, atoms: Tensor, bonds: Tensor, angles: Tensor, weights: Tensor, near: _NearBonds
    ) -> Tensor:
        gate = self.bond_gates[number]
        update = gate(near.messages(gate, atoms, bonds, angles)) * weights
        gathered = torch.zeros_like(bonds).index_add(0, near.owner, update)
        updated: Tensor = self.model.bond_conv_layers[number].mlp_out(gathered) + bonds
        return updated


class _NearBonds:
    """The bonds that form angles: a fraction of all bonds, so products are made for them only."""

    def __init__(self, graph: BatchedGraph) -> None:
        self.center, self.owner = graph.batched_bond_graph[:, 0], graph.batched_bond_graph[:, 1]
        other = graph.batched_bond_graph[:, 2]
        self.bonds, places = torch.unique(torch.cat([self.owner, other]), return_inverse=True)
        self.first, self.second = places.split(len(self.owner))

    def messages(self, gate: SplitGate, atoms: Tensor, bonds: Tensor, angles: Tensor) -> Tensor:
        """Sum the parts of a gated layer on (bond, other bond, angle, central atom)."""
        one, other, angle, center = gate.parts
        near = bonds.index_select(0, self.bonds)
        return (
            torch.addmm(gate.bias, angles, angle)
            + (near @ one).index_select(0, self.first)
            + (near @ other).index_select(0, self.second)
            + (atoms @ center).index_select(0, self.center)
        )

    def product(self, weights: Tensor) -> Tensor:
        """Multiply the weights of the two bonds of each angle."""
        near = weights.index_select(0, self.bonds)
        return near.index_select(0, self.first) * near.index_select(0, self.second)
