"""CHGNet as an ASE calculator that computes what a relaxation needs and nothing else.

chgnet's own calculator differentiates the energy twice, once for forces and once for stress, and each time keeps what a
second derivative would need, which only training wants; it also computes magnetic moments at every step. Here one
backward pass gives forces and stress, the layers are evaluated as in `chgnet_energy`, and numbers below float32's
normal range (the tails of CHGNet's smooth cutoffs), on which processors are many times slower, count as zero. Same
network, same weights, same numbers to float32 rounding (tested).
"""

from __future__ import annotations

import contextlib
import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from chgnet.model.model import BatchedGraph, CHGNet
from pymatgen.io.ase import AseAtomsAdaptor

from cathodeflow.calculators.potentials.chgnet_energy import CHGNetEnergy
from cathodeflow.calculators.potentials.relaxation import require_finite_geometry
from cathodeflow.errors import CalculationError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

MODELS = ("0.3.0", "0.2.0", "r2scan")  # the weights in the chgnet wheel


@lru_cache(maxsize=2)
def load_chgnet(version: str, device: str) -> tuple[CHGNet, CHGNetEnergy]:
    """Load the packaged weights once per process, frozen.

    Parameters
    ----------
    version : str
        One of `MODELS`.
    device : str
        A torch device.

    Raises
    ------
    DefinitionError
        There are no such weights.
    """
    if version not in MODELS:
        known = ", ".join(f"chgnet-{model}" for model in MODELS)
        raise DefinitionError(f"there is no potential chgnet-{version}; choose one of {known}")
    with contextlib.redirect_stdout(io.StringIO()):
        model = CHGNet.load(model_name=version, use_device=device, verbose=False)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.graph_converter.set_isolated_atom_response("ignore")
    return model, CHGNetEnergy(model)


class CHGNetEnergyCalculator(Calculator):
    """Energy, forces and stress by CHGNet.

    Parameters
    ----------
    version : str
        Of the weights, e.g. ``0.3.0``.
    device : str
        A torch device.

    Attributes
    ----------
    evaluations : int
        How often the network was evaluated so far.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, version: str = "0.3.0", device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.model, self.interaction = load_chgnet(version, device)
        self.device = device
        self.evaluations = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate the network once.

        Raises
        ------
        CalculationError
            The geometry or the energy is not finite.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert atoms is not None
        require_finite_geometry(atoms)
        with _no_subnormal_numbers():
            energy, gradients = self._differentiate(atoms)
        position_gradient, strain_gradient = (gradient.cpu().numpy().astype(float) for gradient in gradients)
        if not (np.isfinite(energy) and np.isfinite(position_gradient).all()):
            raise CalculationError(
                "the potential gave an energy that is not finite; look at the geometry", "non_finite"
            )
        self.evaluations += 1
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": -position_gradient,
            "stress": _voigt(strain_gradient / atoms.cell.volume),
        }

    def _differentiate(self, atoms: Atoms) -> tuple[float, tuple[torch.Tensor, ...]]:
        """Return the energy, eV, and its derivatives by the positions, eV/Å, and the strain, eV."""
        model = self.model
        graph = model.graph_converter(AseAtomsAdaptor.get_structure(atoms)).to(self.device)
        batched = BatchedGraph.from_graphs(
            [graph], model.bond_basis_expansion, model.angle_basis_expansion, compute_stress=True
        )
        interaction = self.interaction(batched)
        gradients = torch.autograd.grad(interaction, [batched.atom_positions[0], batched.strains[0]])
        scale = len(atoms) if model.is_intensive else 1  # the model of the composition gives eV/atom then
        composition = model.composition_model([graph]).sum() * scale if model.composition_model is not None else 0.0
        return float(interaction.detach() + composition), gradients


@contextlib.contextmanager
def _no_subnormal_numbers() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _voigt(stress: np.ndarray) -> np.ndarray:
    symmetric: np.ndarray = (stress + stress.T) / 2
    return symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
