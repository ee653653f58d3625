"""The rehearsal under atomate2's own makers: job, custodian, parsing and task document are the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp.inputs import Poscar
from pymatgen.io.vasp.outputs import Vasprun

from cathodeflow.calculators.potentials.pair import PairCalculator

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def relax(programs: Path, tmp_path: Path) -> Callable[..., tuple[Any, Path]]:
    """Relax with atomate2 in this process; return the task document, None where the job failed, and its folder."""
    from atomate2.vasp.jobs.mp import MPGGARelaxMaker
    from atomate2.vasp.powerups import update_user_incar_settings
    from custodian.vasp.handlers import UnconvergedErrorHandler, VaspErrorHandler
    from jobflow import run_locally

    def run(structure: Structure, *, repair: bool = True, **tags: Any) -> tuple[Any, Path]:
        maker = MPGGARelaxMaker(
            write_input_set_kwargs={"potcar_spec": True},
            run_vasp_kwargs={
                "vasp_cmd": str(programs / "vasp_std"),
                "vasp_gamma_cmd": str(programs / "vasp_gam"),
                "handlers": (VaspErrorHandler(), UnconvergedErrorHandler()) if repair else (),
                "custodian_kwargs": {"polling_time_step": 0.25, "monitor_freq": 4},
            },
        )
        job = update_user_incar_settings(maker.make(structure), {"EDIFFG": -0.02, "LAECHG": True, **tags})
        responses = run_locally(job, create_folders=True, root_dir=tmp_path)
        folder = next(tmp_path.glob("job_*"))
        return (responses[job.uuid][1].output if job.uuid in responses else None), folder

    return run


def crystal(write_run: Callable[..., Path]) -> Structure:
    return Poscar.from_file(write_run() / "POSCAR", check_for_potcar=False).structure


def energy_of(structure: Structure) -> float:
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(Structure.from_sites(structure.sites), msonable=False)
    atoms.calc = PairCalculator()
    return float(atoms.get_potential_energy())


def test_a_materials_project_relaxation_ends_in_a_task_document_with_the_energy_of_the_potential(
    write_run: Callable[..., Path], environment: Callable[..., Any], relax: Callable[..., Any]
) -> None:
    environment({"kind": "zbrent", "step": 2})
    start = crystal(write_run)
    document, folder = relax(start)
    assert document.state == "successful"
    assert document.output.energy == pytest.approx(energy_of(document.structure), abs=1e-6)
    assert document.output.energy < energy_of(start)
    assert np.linalg.norm(document.output.forces, axis=1).max() < 0.02
    # The model's gap, with 0.05 times iron's U of 5.3 eV, at the point of this mesh that comes nearest to its edge.
    points = np.array(Vasprun(next(folder.glob("vasprun.xml*")), parse_potcar_file=False).actual_kpoints)
    edge = 0.4 * (1 + np.cos(2 * np.pi * points[:, 0])).min() / 2
    assert document.output.bandgap == pytest.approx(1.6 * (3.44 - 1.83) - 1.2 * 0.5 + 0.05 * 5.3 + edge, abs=2e-4)
    assert document.calcs_reversed[0].run_type == "GGA+U"
    assert document.calcs_reversed[0].task_type == "Structure Optimization"
    assert [error for done in document.custodian[0].corrections for error in done["errors"]] == ["zbrent"]
    assert all("rehearsal" in potential.titel for potential in document.input.potcar_spec)
    assert (folder / "CONTCAR.gz").exists() or (folder / "CONTCAR").exists()


@pytest.mark.parametrize("tags", [{"NSW": 3}, {"NELM": 3}], ids=["ionic", "electronic"])
def test_an_unconverged_run_is_never_a_success(
    write_run: Callable[..., Path], environment: Callable[..., Any], relax: Callable[..., Any], tags: dict[str, int]
) -> None:
    environment()
    document, folder = relax(crystal(write_run), repair=False, **tags)
    assert document is None
    assert (folder / "vasprun.xml").exists() or (folder / "vasprun.xml.gz").exists()


def test_a_cut_vasprun_is_never_a_success(
    write_run: Callable[..., Path], environment: Callable[..., Any], relax: Callable[..., Any]
) -> None:
    environment({"kind": "truncated_xml", "fraction": 0.99, "times": 9})
    document, _ = relax(crystal(write_run))
    assert document is None
