from __future__ import annotations

import json
from pathlib import Path

import pytest
from custodian.vasp.handlers import WalltimeHandler
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.io.vasp.inputs import Incar, Kpoints

from cathodeflow.calculators.vasp.makers import (
    PresetRelaxMaker,
    _for_this_machine,
    relax_maker,
    static_maker,
    zip_outputs,
)
from cathodeflow.calculators.vasp.preset import load_preset
from cathodeflow.errors import CalculationError, DefinitionError
from cathodeflow.science.hosts.host import load_packaged_host

NVPF = load_packaged_host("nvpf").level("Na3").structure
RELAX = load_preset("s0_relax")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "Sat Nov 21 00:00:00 UTC 2026")  # restored after the test
    monkeypatch.chdir(tmp_path)


def handlers_of(maker: PresetRelaxMaker) -> tuple[object, ...]:
    return _for_this_machine(maker).run_vasp_kwargs["handlers"]


def test_every_job_has_handlers_of_its_own() -> None:
    maker = relax_maker(RELAX)
    first, second = handlers_of(maker), handlers_of(maker)
    assert [type(handler) for handler in first] == [type(handler) for handler in second]
    assert not {id(handler) for handler in first} & {id(handler) for handler in second}
    assert "handlers" not in maker.run_vasp_kwargs  # nothing of one job stays with the maker


def test_the_walltime_of_the_allocation_is_watched() -> None:
    watching = [h for h in handlers_of(relax_maker(RELAX, wall_time_s=3600)) if isinstance(h, WalltimeHandler)]
    assert [(handler.wall_time, handler.electronic_step_stop) for handler in watching] == [(3600, False)]
    assert not any(isinstance(handler, WalltimeHandler) for handler in handlers_of(relax_maker(RELAX)))


def test_commands_are_those_set_when_the_job_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = relax_maker(RELAX)
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "srun changed_since")
    assert _for_this_machine(maker).run_vasp_kwargs["vasp_cmd"] == "srun changed_since"


def test_a_job_survives_the_way_through_the_queue() -> None:
    made = relax_maker(RELAX, high_energy=True, wall_time_s=60).make(NVPF)
    back = json.loads(json.dumps(made, cls=MontyEncoder), cls=MontyDecoder).function.__self__
    assert (back.name, back.profile, back.wall_time_s) == ("s0_relax", "high_energy", 60)
    inputs = back.input_set_generator.get_input_set(NVPF, potcar_spec=True)
    assert (inputs.incar["ENCUT"], inputs.incar["EDIFFG"]) == (550, -0.01)
    assert list(inputs.kpoints.kpts) == [(1, 1, 1)]


def test_a_hybrid_job_keeps_its_band_edges_on_that_way() -> None:
    made = static_maker(load_preset("s0_hse_band_edges"), band_edges=[(0.5, 0, 0)]).make(NVPF)
    back = json.loads(json.dumps(made, cls=MontyEncoder), cls=MontyDecoder).function.__self__
    kpoints = back.input_set_generator.get_input_set(NVPF, potcar_spec=True).kpoints
    assert kpoints.kpts_weights == [1, 0]
    assert tuple(kpoints.kpts[1]) == (0.5, 0, 0)


def test_a_hybrid_run_starts_from_the_density_and_not_from_orbitals_of_other_k_points() -> None:
    assert static_maker(load_preset("s0_hse_band_edges")).copy_vasp_kwargs == {"additional_vasp_files": ("CHGCAR",)}
    assert static_maker(load_preset("s0_static")).copy_vasp_kwargs == {}


def test_core_charges_are_checked_where_they_are_asked_for() -> None:
    for preset, checked in (("s0_static", True), ("s0_pdos", False)):
        validators = _for_this_machine(static_maker(load_preset(preset))).run_vasp_kwargs["validators"]
        assert ("VaspAECCARValidator" in {type(validator).__name__ for validator in validators}) is checked


def test_a_stage_has_its_own_maker() -> None:
    with pytest.raises(DefinitionError, match="is of stage static"):
        relax_maker(load_preset("s0_static"))
    with pytest.raises(DefinitionError, match="is of stage relax"):
        static_maker(RELAX)


def test_settings_that_no_report_would_show_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOMATE2_VASP_INCAR_UPDATES", '{"NCORE": 4}')
    _for_this_machine(relax_maker(RELAX))
    monkeypatch.setenv("ATOMATE2_VASP_INCAR_UPDATES", '{"ENCUT": 400}')
    with pytest.raises(DefinitionError, match="sets ENCUT for all runs"):
        _for_this_machine(relax_maker(RELAX))


def test_a_job_writes_the_presets_files_and_fails_where_vasp_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOMATE2_VASP_CMD", "true")
    maker = relax_maker(RELAX)
    maker.run_vasp_kwargs["custodian_kwargs"] = {"polling_time_step": 0.1}
    with pytest.raises(CalculationError, match="Validation failed"):
        PresetRelaxMaker.make.original(maker, NVPF)
    incar = Incar.from_file(tmp_path / "INCAR")
    assert (incar["ENCUT"], incar["EDIFF"], incar["EDIFFG"]) == (550, 1e-6, -0.01)
    assert list(Kpoints.from_file(tmp_path / "KPOINTS").kpts) == [(1, 1, 1)]
    assert (tmp_path / "POTCAR.spec").read_text().split() == ["Na_pv", "V_pv", "P", "O", "F"]


@pytest.mark.parametrize("setting", [True, "atomate", False])
def test_all_is_zipped_but_the_orbitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: bool | str) -> None:
    monkeypatch.setattr("atomate2.SETTINGS.VASP_ZIP_FILES", setting)
    for name in ("OUTCAR", "WAVECAR", "CHGCAR"):
        (tmp_path / name).write_text(name)
    zip_outputs(tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert found == ({"OUTCAR.gz", "WAVECAR", "CHGCAR.gz"} if setting else {"OUTCAR", "WAVECAR", "CHGCAR"})
