"""What a label costs, against atomate2's plain force-field relaxation, and what a second worker adds.

Run it as ``python bench/labels.py`` (three to six minutes). One thread per process throughout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CATHODEFLOW_THREADS_PER_WORKER", "1")

import torch

from cathodeflow.calculators.engines import engine
from cathodeflow.science.hosts.candidates import decorate
from cathodeflow.science.hosts.host import load_packaged_host

CASES = (("Na3", ("Cu", "Mo"), 0x3F), ("Na1", ("Fe", "Au"), 0x1F))


def structures():
    """Return the cells that are relaxed: NVPF with two substituents, 72 and 64 atoms."""
    host = load_packaged_host("nvpf")
    return [
        (f"{level} {'/'.join(elements)}", decorate(host.level(level), elements, mask))
        for level, elements, mask in CASES
    ]


def plain(structure, max_force):
    """Relax as atomate2 does by default; returns seconds, steps and energy."""
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker
    from jobflow import run_locally

    began = time.perf_counter()
    job = ForceFieldRelaxMaker(force_field_name="CHGNet", relax_kwargs={"fmax": max_force}).make(structure)
    document = run_locally(job, log=False)[job.uuid][1].output
    return time.perf_counter() - began, document.output.n_steps, document.output.energy


def ours(structure, max_force, optimizer="BFGS"):
    """Relax as a label does; returns seconds, steps and energy."""
    relaxed = engine({"name": "mlff", "max_force": max_force, "parameters": {"optimizer": optimizer}}).relax(structure)
    return relaxed.wall_s, relaxed.steps + 1, relaxed.energy_after


def one_evaluation():
    """Print what one energy with forces and stress costs, step by step."""
    from chgnet.model.dynamics import CHGNetCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    from cathodeflow.calculators.potentials.chgnet import CHGNetEnergyCalculator

    atoms = AseAtomsAdaptor.get_atoms(structures()[0][1])
    theirs, lean = CHGNetCalculator(use_device="cpu"), CHGNetEnergyCalculator()

    def split_with_subnormals(structure):
        torch.set_flush_denormal(False)
        lean._differentiate(structure)  # noqa: SLF001 - without what `calculate` sets around it

    def original_layers(structure):
        from chgnet.model.model import BatchedGraph

        model = lean.model
        graph = model.graph_converter(AseAtomsAdaptor.get_structure(structure))
        batched = BatchedGraph.from_graphs(
            [graph], model.bond_basis_expansion, model.angle_basis_expansion, compute_stress=True
        )
        energy = model._compute(batched)["e"].sum() * len(structure)  # noqa: SLF001 - the layers themselves
        torch.autograd.grad(energy, [batched.atom_positions[0], batched.strains[0]])

    stages = {
        "chgnet's calculator": theirs.calculate,
        "one backward pass": original_layers,
        "+ split layers": split_with_subnormals,
        "+ subnormal numbers are zero (ours)": lean.calculate,
    }
    first = None
    for name, evaluate in stages.items():
        seconds = min(_timed(evaluate, atoms) for _ in range(6))
        first = first or seconds
        print(f"  {name:38s} {seconds:6.3f} s   {first / seconds:4.2f} x")


def _timed(evaluate, atoms):
    began = time.perf_counter()
    evaluate(atoms)
    return time.perf_counter() - began


def workers(count, max_force):
    """Return labels per second of so many single-thread processes, imports not counted."""
    command = [sys.executable, __file__, "--worker", str(max_force)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for process in processes:
        process.stdout.readline()  # it has imported everything and relaxed once
    began = time.perf_counter()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    labels = sum(int(process.communicate()[0]) for process in processes)
    return labels / (time.perf_counter() - began)


def work(max_force):
    """Be one of the processes of `workers`."""
    cells = [structure for _, structure in structures()]
    ours(cells[0], 10.0)
    print("ready", flush=True)
    sys.stdin.readline()
    for structure in cells:
        ours(structure, max_force)
    print(len(cells), flush=True)


def compare(max_force):
    """Print what one evaluation and one relaxation cost, ours and atomate2's."""
    print("One evaluation (72 atoms, one thread):")
    one_evaluation()
    print(f"One relaxation to {max_force:g} eV/Å (one thread):")
    ours(structures()[0][1], 10.0)
    for name, structure in structures():
        fast, fire = ours(structure, max_force), ours(structure, max_force, "FIRE")
        with tempfile.TemporaryDirectory() as folder:
            here = Path.cwd()
            os.chdir(folder)
            slow = plain(structure, max_force)
            os.chdir(here)
        print(f"  {name}: ours {fast[0]:.1f} s ({fast[1]} evaluations, {fast[2]:.3f} eV)")
        print(f"    ours with FIRE   {fire[0]:.1f} s ({fire[1]} evaluations, {fire[2]:.3f} eV)")
        print(
            f"    atomate2's plain {slow[0]:.1f} s ({slow[1]} steps, {slow[2]:.3f} eV): {slow[0] / fast[0]:.1f} x ours"
        )


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-force", type=float, default=0.1)
    parser.add_argument("--only-workers", action="store_true", help="Leave out the comparison with atomate2.")
    parser.add_argument("--worker", type=float, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if arguments.worker is not None:
        work(arguments.worker)
        return
    if not arguments.only_workers:
        compare(arguments.max_force)
    # In turn, and the better of two each: what else runs on the machine only ever takes away.
    one, two = map(
        max, zip(*[(workers(1, arguments.max_force), workers(2, arguments.max_force)) for _ in range(2)], strict=True)
    )
    print(f"Workers of one thread: 1 makes {3600 * one:.0f} labels/h, 2 make {3600 * two:.0f}: {two / one:.2f} x")


if __name__ == "__main__":
    main()
