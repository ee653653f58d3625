"""MEGNet, in the form of its authors' published formation-energy models.

Chen, Ye, Zuo, Zheng and Ong, Chem. Mater. 31, 3564 (2019), the network paper S0 starts from. This is the architecture
of the `megnet` package (Keras), not matgl's: no activation after the last dense layer of a convolution, and a Set2Set
with one recurrent kernel, hard sigmoid and a cell that is never carried over.

The first dense layer of an edge update acts on [v_i, v_j, e, u]. Its weight is cut into those four parts, so that the
atom and state parts are multiplied once per atom and per crystal instead of once per edge.
"""

from __future__ import annotations

import io
import itertools
import math
import pickle
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cathodeflow.errors import ModelError
from cathodeflow.science.surrogates.activation import softplus2
from cathodeflow.science.surrogates.graphs import GraphTemplate, atomic_numbers, graph_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

WEIGHTS_FORMAT = 1
DAMAGE = (RuntimeError, KeyError, TypeError, ValueError, AttributeError, EOFError, OSError, pickle.UnpicklingError)


@dataclass(frozen=True)
class MEGNetConfig:
    """Shape of a network.

    Attributes
    ----------
    cutoff : float
        Radius of the crystal graph in angstrom.
    basis_end : float
        Centre of the last Gaussian of the bond expansion in angstrom; the first is at 0.
    n_basis : int
        Number of Gaussians.
    basis_width : float
        Width s of exp(-(d - c)^2 / s^2) in angstrom.
    readout_steps : int
        Set2Set iterations.
    n_blocks : int
        MEGNet blocks.
    n_species : int
        Rows of the element embedding; the row is the atomic number.
    style : str
        "keras" as its authors published it, or "matgl": convolutions end with an activation, and the read-outs are
        Set2Sets with a usual LSTM.
    """

    cutoff: float = 5.0
    basis_end: float = 6.0
    n_basis: int = 100
    basis_width: float = 0.5
    readout_steps: int = 2
    n_blocks: int = 3
    n_species: int = 95
    style: str = "keras"


@dataclass(frozen=True)
class GraphBatch:
    """Several crystals as one graph without edges between them.

    Attributes
    ----------
    numbers : Tensor of int64, shape (n_atoms,)
        Atomic numbers.
    source, target : Tensor of int64, shape (n_edges,)
        Ends of the directed edges.
    distance : Tensor of float32, shape (n_edges,)
        Edge lengths in angstrom.
    atom_crystal, edge_crystal : Tensor of int64
        Which crystal an atom, an edge belongs to.
    n_crystals : int
        Number of crystals.
    """

    numbers: Tensor
    source: Tensor
    target: Tensor
    distance: Tensor
    atom_crystal: Tensor
    edge_crystal: Tensor
    n_crystals: int

    def to(self, device: torch.device | str) -> GraphBatch:
        """Return the batch on another device."""
        names = [field.name for field in fields(self) if field.name != "n_crystals"]
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def make_batch(templates: Sequence[GraphTemplate], numbers: Sequence[NDArray[np.int64]]) -> GraphBatch:
    """Stack crystals.

    Parameters
    ----------
    templates : sequence of GraphTemplate
        Bonds of each crystal.
    numbers : sequence of ndarray of int64, shape (n_atoms,)
        Atomic numbers of each crystal.

    Returns
    -------
    GraphBatch
        On the CPU.
    """
    atoms = np.array([template.n_atoms for template in templates])
    edges = np.array([template.n_edges for template in templates])
    offsets = np.concatenate([[0], np.cumsum(atoms)[:-1]])
    index = np.arange(len(templates))
    return GraphBatch(
        numbers=torch.from_numpy(np.concatenate(list(numbers))),
        source=torch.from_numpy(np.concatenate([t.source + o for t, o in zip(templates, offsets, strict=True)])),
        target=torch.from_numpy(np.concatenate([t.target + o for t, o in zip(templates, offsets, strict=True)])),
        distance=torch.from_numpy(np.concatenate([t.distance for t in templates])),
        atom_crystal=torch.from_numpy(np.repeat(index, atoms)),
        edge_crystal=torch.from_numpy(np.repeat(index, edges)),
        n_crystals=len(templates),
    )


def mean_by(values: Tensor, index: Tensor, n: int) -> Tensor:
    """Mean of the rows of `values` (m, f) that share an index, shape (n, f)."""
    total = values.new_zeros(n, values.shape[1]).index_add_(0, index, values)
    count = torch.bincount(index, minlength=n).clamp_(min=1).to(values.dtype)
    return total / count[:, None]


class DenseStack(nn.Module):
    """Dense layers with softplus2 between them, and after the last one if `activate_last`."""

    def __init__(self, sizes: Sequence[int], *, activate_last: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.activate_last = activate_last

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to x, shape (m, sizes[0])."""
        return self.after_first(self.linear(0)(x))

    def linear(self, number: int) -> nn.Linear:
        """Return the linear map of one layer."""
        return cast("nn.Linear", self.layers[number])

    def after_first(self, x: Tensor) -> Tensor:
        """Go on after the first linear map, given its result, shape (m, sizes[1])."""
        last = len(self.layers) - 1
        for number in range(len(self.layers)):
            if number:
                x = self.linear(number)(x)
            if number < last or self.activate_last:
                x = softplus2(x)
        return x


class Block(nn.Module):
    """One MEGNet block: dense layers on bonds, atoms and state, a graph convolution, and the sum with its input."""

    def __init__(self, *, has_dense: bool, activate_last: bool = False) -> None:
        super().__init__()
        self.has_dense = has_dense
        if has_dense:
            self.edge_dense = DenseStack([32, 64, 32], activate_last=True)
            self.atom_dense = DenseStack([32, 64, 32], activate_last=True)
            self.state_dense = DenseStack([32, 64, 32], activate_last=True)
        self.edge_update = DenseStack([128, 64, 64, 32], activate_last=activate_last)
        self.atom_update = DenseStack([96, 64, 64, 32], activate_last=activate_last)
        self.state_update = DenseStack([96, 64, 64, 32], activate_last=activate_last)

    def forward(self, atoms: Tensor, edges: Tensor, state: Tensor, batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Update atoms (n_atoms, 32), edges (n_edges, 32) and state (n_crystals, 32)."""
        v, e, u = atoms, edges, state
        if self.has_dense:
            v, e, u = self.atom_dense(v), self.edge_dense(e), self.state_dense(u)
        first = self.edge_update.linear(0)
        w_source, w_target, w_edge, w_state = first.weight.split(32, dim=1)
        hidden = functional.linear(e, w_edge)
        hidden = hidden + functional.linear(v, w_source).index_select(0, batch.source)
        hidden = hidden + functional.linear(v, w_target).index_select(0, batch.target)
        hidden = hidden + functional.linear(u, w_state, first.bias).index_select(0, batch.edge_crystal)
        e = self.edge_update.after_first(hidden)
        around = mean_by(e, batch.source, len(v))
        v = self.atom_update(torch.cat([around, v, u.index_select(0, batch.atom_crystal)], dim=1))
        edge_mean = mean_by(e, batch.edge_crystal, batch.n_crystals)
        atom_mean = mean_by(v, batch.atom_crystal, batch.n_crystals)
        u = self.state_update(torch.cat([edge_mean, atom_mean, u], dim=1))
        return v + atoms, e + edges, u + state


def attend(keys: Tensor, query: Tensor, index: Tensor) -> Tensor:
    """Mean of `keys` (m, h) per crystal, weighted by the softmax of their products with its `query` (n, h)."""
    n = len(query)
    score = (keys * query.index_select(0, index)).sum(dim=1)
    peak = torch.full((n,), -math.inf, dtype=keys.dtype, device=keys.device)
    peak = peak.scatter_reduce(0, index, score.detach(), "amax")
    weight = torch.exp(score - peak.index_select(0, index))
    norm = weight.new_zeros(n).index_add_(0, index, weight)
    return keys.new_zeros(n, keys.shape[1]).index_add_(0, index, keys * weight[:, None]) / norm[:, None]


class Set2Set(nn.Module):
    """Order-independent read-out by repeated attention, as in the `megnet` package (its cell stays zero)."""

    def __init__(self, n_in: int, n_hidden: int, steps: int) -> None:
        super().__init__()
        self.project = nn.Linear(n_in, n_hidden)
        self.recurrent = nn.Linear(2 * n_hidden, 4 * n_hidden)
        self.n_hidden = n_hidden
        self.steps = steps

    def query(self, memory: Tensor) -> Tensor:
        """One recurrent step: (n_crystals, 2 h) to (n_crystals, h)."""
        gate_in, _, cell, gate_out = self.recurrent(memory).chunk(4, dim=1)
        cell = functional.hardtanh(0.2 * gate_in + 0.5, 0.0, 1.0) * torch.tanh(cell)
        return functional.hardtanh(0.2 * gate_out + 0.5, 0.0, 1.0) * torch.tanh(cell)

    def forward(self, x: Tensor, index: Tensor, n: int) -> Tensor:
        """Read rows x (m, n_in) that belong to crystals `index` (m,) out to (n, 2 n_hidden)."""
        keys = self.project(x)
        memory = x.new_zeros(n, 2 * self.n_hidden)
        for _ in range(self.steps):
            query = self.query(memory)
            memory = torch.cat([query, attend(keys, query, index)], dim=1)
        return memory


class LSTMSet2Set(nn.Module):
    """Set2Set with a usual LSTM, as in matgl; reads (m, h) out to (n, 2 h)."""

    def __init__(self, n_in: int, steps: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * n_in, n_in, 1)
        self.n_in = n_in
        self.steps = steps

    def forward(self, x: Tensor, index: Tensor, n: int) -> Tensor:
        """Read rows x (m, n_in) that belong to crystals `index` (m,) out to (n, 2 n_in)."""
        memory, cells = x.new_zeros(n, 2 * self.n_in), None
        for _ in range(self.steps):
            query, cells = self.lstm(memory[None], cells)
            memory = torch.cat([query[0], attend(x, query[0], index)], dim=1)
        return memory


class MEGNet(nn.Module):
    """The network: crystal graph to one number per crystal, in eV/atom.

    The raw output times `target_std` plus `target_mean` is the prediction; both are stored with the weights.

    Parameters
    ----------
    config : MEGNetConfig
        Shape of the network.
    """

    target_mean: Tensor
    target_std: Tensor
    centres: Tensor

    def __init__(self, config: MEGNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MEGNetConfig()
        self.embedding = nn.Embedding(config.n_species, 16)
        self.atom_encoder = DenseStack([16, 64, 32], activate_last=True)
        self.edge_encoder = DenseStack([config.n_basis, 64, 32], activate_last=True)
        self.state_encoder = DenseStack([2, 64, 32], activate_last=True)
        self.blocks = nn.ModuleList(
            Block(has_dense=number > 0, activate_last=config.style == "matgl") for number in range(config.n_blocks)
        )
        steps, matgl = config.readout_steps, config.style == "matgl"
        self.atom_readout = LSTMSet2Set(32, steps) if matgl else Set2Set(32, 16, steps)
        self.edge_readout = LSTMSet2Set(32, steps) if matgl else Set2Set(32, 16, steps)
        self.head = DenseStack([160 if matgl else 96, 32, 16, 1], activate_last=False)
        centres = np.linspace(0.0, config.basis_end, config.n_basis).astype(np.float32)
        self.register_buffer("centres", torch.from_numpy(centres), persistent=False)
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_std", torch.ones(()))
        self.eval()

    def expand(self, distance: Tensor) -> Tensor:
        """Gaussian expansion of edge lengths in angstrom, (m,) to (m, n_basis)."""
        return torch.exp(-(((distance[:, None] - self.centres) / self.config.basis_width) ** 2))

    def encode(self, batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Make the first atom (n_atoms, 32), edge (n_edges, 32) and state (n_crystals, 32) features."""
        edges = self.edge_encoder(self.expand(batch.distance))
        atoms = self.atom_encoder(self.embedding(batch.numbers))
        state = self.state_encoder(edges.new_zeros(batch.n_crystals, 2))
        return atoms, edges, state

    def run_blocks(
        self, features: tuple[Tensor, Tensor, Tensor], batch: GraphBatch, start: int = 0, stop: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Send features through blocks `start` to `stop` (exclusive; all by default)."""
        for number in range(start, self.config.n_blocks if stop is None else stop):
            features = self.blocks[number](*features, batch)
        return features

    def read_out(self, features: tuple[Tensor, Tensor, Tensor], batch: GraphBatch) -> Tensor:
        """Turn the last features into predictions, shape (n_crystals,), eV/atom."""
        atoms, edges, state = features
        vector = torch.cat(
            [
                self.atom_readout(atoms, batch.atom_crystal, batch.n_crystals),
                self.edge_readout(edges, batch.edge_crystal, batch.n_crystals),
                state,
            ],
            dim=1,
        )
        return self.head(vector)[:, 0] * self.target_std + self.target_mean

    def forward(self, batch: GraphBatch) -> Tensor:
        """Predict, shape (n_crystals,), eV/atom."""
        return self.read_out(self.run_blocks(self.encode(batch), batch), batch)

    def check_numbers(self, numbers: NDArray[np.int64]) -> None:
        """Refuse elements the embedding has no row for.

        Raises
        ------
        ModelError
            If an atomic number is outside 1 … n_species - 1.
        """
        low, high = int(np.min(numbers)), int(np.max(numbers))
        if low < 1 or high >= self.config.n_species:
            bad = low if low < 1 else high
            raise ModelError(f"the surrogate knows atomic numbers 1 to {self.config.n_species - 1}, not {bad}")
        present = np.unique(numbers)
        rows = self.embedding.weight.detach()[torch.from_numpy(present)]
        strange = present[~torch.isfinite(rows).all(dim=1).cpu().numpy()]
        if len(strange):
            raise ModelError(f"the surrogate was made without the element of atomic number {int(strange[0])}")

    def predict_structure(self, structure: Structure) -> float:
        """Predict one crystal in the plainest way: build its graph, run the network.

        Parameters
        ----------
        structure : pymatgen Structure
            An ordered crystal.

        Returns
        -------
        float
            eV/atom.
        """
        numbers = atomic_numbers(structure)
        self.check_numbers(numbers)
        batch = make_batch([graph_template(structure, self.config.cutoff)], [numbers])
        with torch.no_grad():
            return float(self(batch.to(self.target_mean.device))[0])


def dump_weights(model: MEGNet) -> bytes:
    """Serialize a network with its shape and scaling.

    Returns
    -------
    bytes
        Readable by `parse_weights`; holds tensors and plain numbers only.
    """
    buffer = io.BytesIO()
    state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    torch.save({"format": WEIGHTS_FORMAT, "config": asdict(model.config), "state": state}, buffer)
    return buffer.getvalue()


def parse_weights(data: bytes) -> MEGNet:
    """Rebuild a network from `dump_weights`, in eval mode.

    Raises
    ------
    ModelError
        If the bytes are damaged or of another format.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found = content["format"]
        model = MEGNet(MEGNetConfig(**content["config"]))
        model.load_state_dict(content["state"])
    except DAMAGE as error:
        raise ModelError(
            f"the weights cannot be read ({type(error).__name__}); install or train the model again"
        ) from error
    if found != WEIGHTS_FORMAT:
        raise ModelError(f"weights of format {found} need another version of this package")
    return model.eval()
