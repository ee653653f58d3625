"""What the real custodian makes of the rehearsal's faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custodian import Custodian
from custodian.custodian import MaxCorrectionsPerJobError, ReturnCodeError, ValidationError
from custodian.vasp.handlers import (
    NonConvergingErrorHandler,
    StdErrHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
    WalltimeHandler,
)
from custodian.vasp.jobs import VaspJob
from custodian.vasp.validators import VaspAECCARValidator, VaspFilesValidator, VasprunXMLValidator
from pymatgen.io.vasp.inputs import Incar
from pymatgen.io.vasp.outputs import Vasprun
from tests.unit.calculators.rehearsal.conftest import FrozenOnceStruck

from cathodeflow.calculators.rehearsal.vasp_std import PACE_VARIABLE

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def supervise(programs: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run vasp_std under custodian with atomate2's handlers, fresh ones, and return what custodian wrote down."""

    def run(folder: Path, *extra: Any, frozen_s: float = 3600) -> list[dict[str, Any]]:
        handlers = [
            VaspErrorHandler(),
            UnconvergedErrorHandler(),
            NonConvergingErrorHandler(),
            FrozenOnceStruck(timeout=frozen_s),
            StdErrHandler(),
            *extra,
        ]
        job = VaspJob([str(programs / "vasp_std")], auto_npar=False, auto_gamma=False, terminate_timeout=2)
        custodian = Custodian(
            handlers,
            [job],
            validators=[VasprunXMLValidator(), VaspFilesValidator(), VaspAECCARValidator()],
            max_errors=3,
            polling_time_step=0.25,
            monitor_freq=1,
            directory=str(folder),
        )
        return custodian.run()

    return run


def found(log: list[dict[str, Any]]) -> list[str]:
    return [error for job in log for correction in job["corrections"] for error in correction["errors"]]


def test_a_run_without_faults_passes_all_handlers_and_validators(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment()
    folder = write_run()
    assert found(supervise(folder)) == []
    assert Vasprun(folder / "vasprun.xml", parse_potcar_file=False).converged


@pytest.mark.parametrize("kind", ["zbrent", "edddav", "brmix"])
def test_custodian_knows_the_message_and_its_repair_ends_in_a_converged_run(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any], kind: str
) -> None:
    environment({"kind": kind, "step": 2})
    folder = write_run()
    before = Incar.from_file(folder / "INCAR")
    assert found(supervise(folder)) == [kind]
    assert Vasprun(folder / "vasprun.xml", parse_potcar_file=False).converged
    assert Incar.from_file(folder / "INCAR") != before or kind == "zbrent"
    diary = json.loads((folder / "rehearsal.json").read_text())
    assert diary["attempts"] == 2
    assert diary["faults"] == [{"attempt": 1, "kind": kind, "step": 2}]


def test_unconverged_electrons_are_met_and_converge_at_the_second_attempt(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment({"kind": "unconverged_electronic", "step": 1})
    folder = write_run(IBRION="-1", NSW=None)
    assert found(supervise(folder)) == ["Unconverged"]
    assert Incar.from_file(folder / "INCAR")["ALGO"] != "Fast"
    assert Vasprun(folder / "vasprun.xml", parse_potcar_file=False).converged


def test_too_few_ionic_steps_are_continued_from_contcar_until_they_suffice(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment()
    folder = write_run(NSW="8")
    errors = found(supervise(folder))
    assert errors
    assert set(errors) == {"Unconverged"}
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert run.converged
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() < 0.02


@pytest.mark.slow
def test_a_relaxation_that_never_converges_ends_as_an_error(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment({"kind": "unconverged_ionic", "times": 9})
    folder = write_run(NSW="5")
    with pytest.raises(MaxCorrectionsPerJobError):
        supervise(folder)
    assert json.loads((folder / "rehearsal.json").read_text())["attempts"] > 1


@pytest.mark.slow
def test_a_frozen_run_is_noticed_and_started_again(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment({"kind": "frozen", "step": 2})
    folder = write_run()
    assert found(supervise(folder, frozen_s=2)) == ["Frozen job"]
    assert Vasprun(folder / "vasprun.xml", parse_potcar_file=False).converged


def test_memory_that_does_not_suffice_is_met(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment({"kind": "out_of_memory", "step": 1})
    folder = write_run(KPAR="4")
    assert found(supervise(folder)) == ["out_of_memory"]
    assert Incar.from_file(folder / "INCAR")["KPAR"] == 2


@pytest.mark.parametrize("kind", ["truncated_xml", "disk_full"])
def test_cut_files_never_pass_the_validators(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any], kind: str
) -> None:
    environment({"kind": kind, "step": 2, "times": 9})
    with pytest.raises((ValidationError, ReturnCodeError)):
        supervise(write_run())


@pytest.mark.parametrize("kind", ["killed", "walltime", "exit_code"])
def test_a_run_that_dies_is_an_error(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any], kind: str
) -> None:
    environment({"kind": kind, "step": 2, "times": 9, "code": 3})
    with pytest.raises((ValidationError, ReturnCodeError)):
        supervise(write_run())


def test_a_walltime_stop_leaves_complete_files_and_its_name_in_the_log(
    write_run: Callable[..., Path],
    environment: Callable[..., Any],
    supervise: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment()
    monkeypatch.setenv(PACE_VARIABLE, "0.1")
    monkeypatch.delenv("CUSTODIAN_WALLTIME_START", raising=False)
    folder = write_run()
    log = supervise(folder, WalltimeHandler(wall_time=300, buffer_time=298))
    assert set(found(log)) == {"Walltime reached"}
    run = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    assert np.linalg.norm(run.ionic_steps[-1]["forces"], axis=1).max() > 0.02


def test_what_vasp_refuses_ends_in_its_own_repair(
    write_run: Callable[..., Path], environment: Callable[..., Any], supervise: Callable[..., Any]
) -> None:
    environment()
    folder = write_run(ISMEAR="-5")
    (folder / "KPOINTS").write_text("one point\n0\nGamma\n1 1 1\n0 0 0\n")
    assert "tet" in found(supervise(folder))
    assert Incar.from_file(folder / "INCAR")["ISMEAR"] == 0
    assert Vasprun(folder / "vasprun.xml", parse_potcar_file=False).converged
