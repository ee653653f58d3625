"""The network evaluated for many decorations of one cell, with everything shared computed once.

All decorations of a level have the same bonds, and only the species on the substitution sites differ. The state is the
same for every crystal until the end of the first block. So the bond features after the first block, and after the dense
layers and the bond part of the first layer of the second, depend on one bond and its two species only: they are
tabulated, and a crystal's bonds become row numbers. In the last block the last layer of the bond update is linear; it
is applied after the means over bonds, and merged with the projection of the read-out.
What is left per bond: two matrix products in block 2, five in block 3, and fused loops between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cathodeflow.science.surrogates import kernels
from cathodeflow.science.surrogates.graphs import GraphTemplate
from cathodeflow.science.surrogates.megnet import Block, MEGNet, Set2Set, make_batch

Array = NDArray[np.float32]
TABLE_SLAB = 8192  # rows made at once: keeps the scratch of a big table small


@dataclass(frozen=True)
class Rows:
    """How a bond and its two species become a row of the tables.

    Attributes
    ----------
    species : ndarray of int64, shape (n_codes,)
        Atomic numbers that occur on substitution sites, ascending; a site's code is the position here.
    first, step_source, step_target : ndarray of int64, shape (n_edges,)
        Row of a bond = first + code of its source x step_source + code of its target x step_target.
    edge, source_number, target_number : ndarray of int64, shape (n_rows,)
        The bond and the atomic numbers of each row.
    """

    species: NDArray[np.int64]
    first: NDArray[np.int64]
    step_source: NDArray[np.int64]
    step_target: NDArray[np.int64]
    edge: NDArray[np.int64]
    source_number: NDArray[np.int64]
    target_number: NDArray[np.int64]


def count_rows(template: GraphTemplate, sites: NDArray[np.int64], n_species: int) -> int:
    """Rows of the tables for so many species on the sites."""
    on_site = np.zeros(template.n_atoms, dtype=bool)
    on_site[sites] = True
    ends = on_site[template.source].astype(int) + on_site[template.target].astype(int)
    return int(np.sum(n_species**ends))


def number_rows(
    template: GraphTemplate, base: NDArray[np.int64], sites: NDArray[np.int64], species: NDArray[np.int64]
) -> Rows:
    """Give a number to every (bond, species, species) that can occur when `species` occupy `sites` of a cell.

    Parameters
    ----------
    template : GraphTemplate
        Bonds.
    base : ndarray of int64, shape (n_atoms,)
        Atomic numbers off the sites.
    sites : ndarray of int64
        Substitution sites.
    species : ndarray of int64
        Ascending atomic numbers.

    Returns
    -------
    Rows
    """
    on_site = np.zeros(template.n_atoms, dtype=bool)
    on_site[sites] = True
    n = len(species)
    near, far = on_site[template.source], on_site[template.target]
    step_target = far.astype(np.int64)
    step_source = np.where(near, np.where(far, n, 1), 0).astype(np.int64)
    size = np.where(near, n, 1) * np.where(far, n, 1)
    first = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    edge = np.repeat(np.arange(template.n_edges, dtype=np.int64), size)
    within = np.arange(len(edge)) - first[edge]
    code_source = np.where(step_source[edge] > 0, within // np.maximum(step_source[edge], 1), 0)
    code_target = np.where(far[edge], within % n, 0)
    return Rows(
        species=species,
        first=first,
        step_source=step_source,
        step_target=step_target,
        edge=edge,
        source_number=np.where(near[edge], species[code_source], base[template.source[edge]]),
        target_number=np.where(far[edge], species[code_target], base[template.target[edge]]),
    )


class TabulatedNetwork:
    """One network prepared for the decorations of one cell, on the CPU. Safe to share between threads.

    Parameters
    ----------
    model : MEGNet
        Three blocks, on the CPU, in eval mode.
    template : GraphTemplate
        Bonds of the cell.
    base : ndarray of int64, shape (n_atoms,)
        Atomic numbers of the host.
    sites : ndarray of int64, shape (n_sites,)
        Substitution sites.
    species : ndarray of int64
        Atomic numbers that occur on them, ascending.
    """

    def __init__(
        self,
        model: MEGNet,
        template: GraphTemplate,
        base: NDArray[np.int64],
        sites: NDArray[np.int64],
        species: NDArray[np.int64],
    ) -> None:
        self.model = model
        self.template = template
        self.base = base
        self.sites = sites
        self.rows = number_rows(template, base, sites, species)
        self.source, self.target = template.source, template.target
        degree = np.bincount(self.source, minlength=template.n_atoms)
        self.starts = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64)
        self.edge_share = torch.from_numpy((degree / template.n_edges).astype(np.float32))
        self.blocks = cast("list[Block]", list(model.blocks))
        with torch.no_grad():
            self._tabulate()
            self._prepare_weights()

    def _tabulate(self) -> None:
        """Fill the tables: bond update of block 1, bonds after block 1, bond part of block 2's first layer."""
        model, rows = self.model, self.rows
        first, second = self.blocks[0], self.blocks[1]
        encoded = model.edge_encoder(model.expand(torch.from_numpy(self.template.distance)))
        state = model.state_encoder(torch.zeros(1, 2))
        self.atom_table = model.atom_encoder(model.embedding.weight)
        self.state = state
        layer = first.edge_update.linear(0)
        w_source, w_target, w_edge, w_state = layer.weight.split(32, dim=1)
        bonds = functional.linear(encoded, w_edge, layer.bias) + functional.linear(state, w_state)
        near, far = functional.linear(self.atom_table, w_source), functional.linear(self.atom_table, w_target)
        w_second = second.edge_update.linear(0).weight.split(32, dim=1)[2]
        update, after, part = [], [], []
        for start in range(0, len(rows.edge), TABLE_SLAB):
            slab = slice(start, start + TABLE_SLAB)
            edge = torch.from_numpy(rows.edge[slab])
            hidden = bonds[edge] + near[torch.from_numpy(rows.source_number[slab])]
            hidden += far[torch.from_numpy(rows.target_number[slab])]
            changed = first.edge_update.after_first(hidden)
            update.append(changed)
            after.append(changed + encoded[edge])
            part.append(functional.linear(second.edge_dense(after[-1]), w_second))
        self.update_table = torch.cat(update).numpy()
        self.edge_table = torch.cat(after).numpy()
        self.part_table = torch.cat(part).numpy()

    def _prepare_weights(self) -> None:
        """Lay weights out for `x @ w` and merge the linear end of the last block with the read-out's projection."""
        model, last = self.model, self.blocks[2]
        self.w2 = [layer.weight.T.contiguous() for layer in (self.blocks[1].edge_update.linear(n) for n in range(3))]
        self.b2 = [self.blocks[1].edge_update.linear(n).bias.detach().numpy() for n in range(3)]
        self.w3 = [last.edge_update.linear(n).weight.T.contiguous() for n in range(3)]
        self.b3 = [last.edge_update.linear(n).bias.detach().numpy() for n in range(3)]
        self.dense_w = [last.edge_dense.linear(n).weight.T.contiguous() for n in range(2)]
        self.dense_b = [last.edge_dense.linear(n).bias.detach().numpy() for n in range(2)]
        self.w3_edge = last.edge_update.linear(0).weight.split(32, dim=1)[2].T.contiguous()
        project = cast("Set2Set", model.edge_readout).project
        self.project_w = project.weight.T.contiguous()
        self.merged_w = (self.w3[2] @ self.project_w).contiguous()
        end = torch.from_numpy(self.b3[2])
        self.merged_b = (end @ self.project_w + project.bias).detach().numpy()

    def predict(self, numbers: NDArray[np.int64]) -> Array:
        """Predict a few crystals (a chunk that fits the processor's cache).

        Parameters
        ----------
        numbers : ndarray of int64, shape (n_crystals, n_atoms)
            Atomic numbers; they differ from `base` on `sites` only.

        Returns
        -------
        ndarray of float32, shape (n_crystals,)
            eV/atom.
        """
        with torch.no_grad():
            rows = self._row_numbers(numbers)
            atoms = self.atom_table[torch.from_numpy(numbers)]
            state = self.state.expand(len(numbers), 32)
            atoms, state = self._first_block(rows, atoms, state)
            atoms, state, edges = self._second_block(rows, atoms, state)
            return self._third_block(atoms, state, edges)

    def _row_numbers(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        codes = np.zeros(numbers.shape, dtype=np.int64)
        codes[:, self.sites] = np.searchsorted(self.rows.species, numbers[:, self.sites])
        out = np.empty((len(numbers), self.template.n_edges), dtype=np.int64)
        r = self.rows
        for crystal in range(len(numbers)):
            kernels.table_rows(
                codes[crystal], self.source, self.target, r.first, r.step_source, r.step_target, out[crystal]
            )
        return out

    def _atoms_and_state(self, block: Block, around: Tensor, atoms: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Update atoms (b, n, 32) and state (b, 32) from the bond means around each atom (b, n, 32)."""
        n_crystals, n_atoms, _ = atoms.shape
        spread = state[:, None, :].expand(n_crystals, n_atoms, 32)
        new_atoms = block.atom_update(torch.cat([around, atoms, spread], dim=2).view(-1, 96)).view(atoms.shape)
        edge_mean = torch.einsum("bnf,n->bf", around, self.edge_share)
        new_state = block.state_update(torch.cat([edge_mean, new_atoms.mean(dim=1), state], dim=1))
        return new_atoms, new_state

    def _first_block(self, rows: NDArray[np.int64], atoms: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        around = torch.empty(atoms.shape)
        out = around.numpy()
        for crystal in range(len(rows)):
            kernels.mean_rows(self.update_table, rows[crystal], self.starts, out[crystal])
        new_atoms, new_state = self._atoms_and_state(self.blocks[0], around, atoms, state)
        return new_atoms + atoms, new_state + state

    def _ends(self, block: Block, atoms: Tensor, state: Tensor) -> tuple[Array, Array]:
        """Parts of the first bond layer that belong to the source (with the state's) and the target atom."""
        layer = block.edge_update.linear(0)
        w_source, w_target, _, w_state = layer.weight.split(32, dim=1)
        near = functional.linear(atoms, w_source) + functional.linear(state, w_state, layer.bias)[:, None, :]
        return near.numpy(), functional.linear(atoms, w_target).numpy()

    def _second_block(self, rows: NDArray[np.int64], atoms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.blocks[1]
        v, u = block.atom_dense(atoms.view(-1, 32)).view(atoms.shape), block.state_dense(state)
        near, far = self._ends(block, v, u)
        n_edges = self.template.n_edges
        hidden, second = torch.empty(n_edges, 64), torch.empty(n_edges, 64)
        edges, around = torch.empty(len(rows), n_edges, 32), torch.empty(atoms.shape)
        for crystal in range(len(rows)):
            row, edge = rows[crystal], edges[crystal]
            kernels.gather_activate(
                self.part_table, row, self.source, self.target, near[crystal], far[crystal], hidden.numpy()
            )
            torch.mm(hidden, self.w2[1], out=second)
            kernels.bias_activate(second.numpy(), self.b2[1])
            torch.mm(second, self.w2[2], out=edge)
            kernels.mean_edges(edge.numpy(), self.starts, around[crystal].numpy())
            kernels.add_rows(edge.numpy(), self.b2[2], self.edge_table, row)
        around += torch.from_numpy(self.b2[2])
        new_atoms, new_state = self._atoms_and_state(block, around, v, u)
        return new_atoms + atoms, new_state + state, edges

    def _third_block(self, atoms: Tensor, state: Tensor, edges: Tensor) -> Array:
        block, model = self.blocks[2], self.model
        v, u = block.atom_dense(atoms.view(-1, 32)).view(atoms.shape), block.state_dense(state)
        near, far = self._ends(block, v, u)
        n_crystals, n_edges, _ = edges.shape
        wide, narrow = torch.empty(n_edges, 64), torch.empty(n_edges, 32)
        hidden, keys = torch.empty(n_edges, 64), torch.empty(n_edges, 16)
        score = np.empty(n_edges, dtype=np.float32)
        mean = torch.empty(n_crystals, self.template.n_atoms, 64)
        vector = torch.empty(n_crystals, 96)
        readout = self._readout_weights(model)
        for crystal in range(n_crystals):
            edge = edges[crystal]
            torch.mm(edge, self.dense_w[0], out=wide)
            kernels.bias_activate(wide.numpy(), self.dense_b[0])
            torch.mm(wide, self.dense_w[1], out=narrow)
            kernels.bias_activate(narrow.numpy(), self.dense_b[1])
            torch.mm(narrow, self.w3_edge, out=hidden)
            kernels.add_activate(hidden.numpy(), self.source, self.target, near[crystal], far[crystal])
            torch.mm(hidden, self.w3[1], out=wide)
            kernels.bias_activate(wide.numpy(), self.b3[1])
            kernels.mean_edges(wide.numpy(), self.starts, mean[crystal].numpy())
            torch.mm(edge, self.project_w, out=keys)
            keys.addmm_(wide, self.merged_w)
            kernels.read_out(keys.numpy(), self.merged_b, *readout[1], score, vector[crystal, 32:64].numpy())
        around = mean @ self.w3[2] + torch.from_numpy(self.b3[2])
        new_atoms, new_state = self._atoms_and_state(block, around, v, u)
        project = cast("Set2Set", model.atom_readout).project
        atom_keys = functional.linear(new_atoms + atoms, project.weight)
        bias = project.bias.detach().numpy()
        for crystal in range(n_crystals):
            kernels.read_out(atom_keys[crystal].numpy(), bias, *readout[0], score, vector[crystal, :32].numpy())
        vector[:, 64:] = new_state + state
        return (model.head(vector)[:, 0] * model.target_std + model.target_mean).numpy()

    @staticmethod
    def _readout_weights(model: MEGNet) -> list[tuple[Array, Array, int]]:
        return [
            (part.recurrent.weight.detach().numpy(), part.recurrent.bias.detach().numpy(), part.steps)
            for part in cast("tuple[Set2Set, Set2Set]", (model.atom_readout, model.edge_readout))
        ]


def predict_stacked(model: MEGNet, template: GraphTemplate, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Predict crystals of one template with the plain network, stacked; the path of the GPU.

    Parameters
    ----------
    model : MEGNet
        On any device.
    template : GraphTemplate
        Bonds of all of them.
    numbers : ndarray of int64, shape (n_crystals, n_atoms)
        Atomic numbers.

    Returns
    -------
    ndarray of float64, shape (n_crystals,)
        eV/atom.
    """
    with torch.no_grad():
        batch = make_batch([template] * len(numbers), list(numbers)).to(model.target_mean.device)
        return model(batch).double().cpu().numpy()
