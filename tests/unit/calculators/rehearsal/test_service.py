from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.io.vasp.outputs import Outcar, Vasprun

from cathodeflow.calculators.rehearsal import potential
from cathodeflow.calculators.rehearsal.service import VARIABLE, ServedPotential, _accept, potential_service
from cathodeflow.errors import CalculationError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
def test_a_served_relaxation_gives_the_numbers_of_a_local_one(
    write_run: Callable[..., Path], environment: Callable[..., Any], start: Callable[..., subprocess.Popen[str]]
) -> None:
    environment(potential="chgnet-0.3.0")
    folder = write_run(NSW="4", MAGMOM="2*4.0 2*-4.0 4*0.6")
    found = []
    for served in (True, False):
        if served:
            with potential_service("chgnet-0.3.0"):
                process = start(folder, dict(os.environ))
                _, errors = process.communicate(timeout=600)
        else:
            process = start(folder, dict(os.environ))
            _, errors = process.communicate(timeout=600)
        assert (process.returncode, errors) == (0, "")
        run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
        found.append((run.nionic_steps, float(run.final_energy), Outcar(folder / "OUTCAR").magnetization))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-4)
    assert found[0][2] == found[1][2]


def test_the_environment_is_as_before_afterwards(environment: Callable[..., Any]) -> None:
    environment(potential="chgnet-0.3.0")
    with potential_service("pair") as place:
        assert os.environ[VARIABLE] == str(place)
        assert os.environ[potential.VARIABLE] == "pair"
    assert VARIABLE not in os.environ
    assert os.environ[potential.VARIABLE] == "chgnet-0.3.0"
    assert not place.exists()


def test_a_killed_run_leaves_the_service_to_others(
    write_run: Callable[..., Path], environment: Callable[..., Any], start: Callable[..., subprocess.Popen[str]]
) -> None:
    environment({"kind": "killed", "step": 2})
    folder = write_run()
    with potential_service("pair"):
        for status in (-9, 0):
            process = start(folder, dict(os.environ))
            process.communicate(timeout=600)
            assert process.returncode == status


def test_a_listener_that_is_closed_ends_its_thread(tmp_path: Path) -> None:
    path = tmp_path / "potential"
    listener = Listener(str(path), family="AF_UNIX")
    waiting = threading.Thread(target=_accept, args=(listener, None, threading.Lock()), daemon=True)
    waiting.start()
    with socket.socket(socket.AF_UNIX) as killed:  # a stand-in that dies before it asks wakes the thread
        killed.connect(str(path))
        listener.close()
    waiting.join(timeout=120)
    assert not waiting.is_alive()


def test_errors_of_the_potential_arrive_as_they_were_raised() -> None:
    with potential_service("pair") as place:
        served = ServedPotential(str(place))
        with pytest.raises(CalculationError) as caught:
            served.ask("evaluate", np.array([8]), np.diag([np.nan] * 3), np.zeros((1, 3)))
        assert caught.value.reason == "non_finite"
        energy, forces, stress = served.ask(
            "evaluate", np.array([26, 8]), 4 * np.eye(3), np.array([[0.0] * 3, [2.0] * 3])
        )
    assert np.isfinite(energy)
    assert (forces.shape, stress.shape) == ((2, 3), (6,))


def test_an_unknown_potential_is_refused_before_anything_is_served() -> None:
    with pytest.raises(CalculationError, match="none of pair"), potential_service("guess"):
        pass
