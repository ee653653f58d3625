import io
import os
import signal
import subprocess
import sys
import tarfile

import pytest
from tests.published.test_s0_megnet import li2o

from cathodeflow.calculators.pretrained import megnet_2019 as installer
from cathodeflow.calculators.pretrained.loading import load_pretrained
from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED, install_megnet_2019, weights_path
from cathodeflow.errors import MissingDependencyError, ModelError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The published source archive, through pip as a user gets it."""
    return installer._download(tmp_path_factory.mktemp("archive") / "download")


def repacked(archive, path, change):
    """The archive with the weights run through `change`, or left out if that gives None."""
    with tarfile.open(archive) as old, tarfile.open(path, "w:gz") as new:
        for name in (PUBLISHED["megnet-2019"].member, installer.LICENCE_MEMBER):
            data = old.extractfile(name).read()
            data = change(data) if name.endswith("hdf5") else data
            if data is not None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                new.addfile(info, io.BytesIO(data))
    return path


def test_the_installed_network_comes_with_its_licence_and_a_second_call_does_nothing(archive, tmp_path):
    told = []
    path = install_megnet_2019(tmp_path, told.append, archive)
    assert path == weights_path(tmp_path)
    assert "Regents of the University of California" in (path.parent / "LICENSE.md").read_text()
    assert told[-1] == "installed megnet-2019"
    before = path.stat().st_mtime_ns
    assert install_megnet_2019(tmp_path, told.append, tmp_path / "no such archive") == path
    assert path.stat().st_mtime_ns == before
    assert sorted(entry.name for entry in path.parent.parent.iterdir()) == ["megnet-2019"]


def test_the_network_of_2018_is_of_another_shape_and_near_its_successor(archive, tmp_path):
    for name in PUBLISHED:
        installer.install_published(name, tmp_path, archive=archive)
    older, newer = load_pretrained("megnet-2018", tmp_path), load_pretrained("megnet-2019", tmp_path)
    assert (older.config.cutoff, older.config.readout_steps) == (4.0, 3)
    assert older.predict_structure(li2o()) == pytest.approx(newer.predict_structure(li2o()), abs=0.1)


def test_a_changed_file_is_refused_and_leaves_nothing(archive, tmp_path):
    changed = repacked(archive, tmp_path / "changed.tar.gz", lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="expected 51de7e372f9f"):
        install_megnet_2019(tmp_path / "cache", archive=changed)
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_an_archive_without_the_weights_or_no_archive_is_refused(archive, tmp_path):
    empty = repacked(archive, tmp_path / "empty.tar.gz", lambda _data: None)
    (tmp_path / "text.tar.gz").write_text("not an archive")
    for path in (empty, tmp_path / "text.tar.gz", tmp_path / "absent.tar.gz"):
        with pytest.raises(ModelError, match=r"is not the source archive of megnet==1\.3\.2"):
            install_megnet_2019(tmp_path / "cache", archive=path)


def test_a_killed_install_leaves_nothing_that_looks_installed(archive, tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from cathodeflow.calculators.pretrained.megnet_2019 import install_megnet_2019\n"
        "kill = lambda line: os.kill(os.getpid(), signal.SIGKILL) if 'checking' in line else None\n"
        "install_megnet_2019(Path(sys.argv[1]), kill, Path(sys.argv[2]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(archive)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(MissingDependencyError, match="cflow model install megnet-2019"):
        load_pretrained("megnet-2019", tmp_path)
    install_megnet_2019(tmp_path, archive=archive)
    assert load_pretrained("megnet-2019", tmp_path).config.cutoff == 5.0


def test_without_a_package_index_the_error_says_what_to_do(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(MissingDependencyError, match=r"could not fetch megnet==1\.3\.2 .*--archive"):
        install_megnet_2019(tmp_path)
    assert not weights_path(tmp_path).exists()


def test_a_weights_file_can_be_named_and_an_unknown_name_is_refused(archive, tmp_path):
    path = install_megnet_2019(tmp_path, archive=archive)
    copy = tmp_path / "own.pt"
    copy.write_bytes(path.read_bytes())
    assert load_pretrained(str(copy), tmp_path).config.cutoff == 5.0
    with pytest.raises(ModelError, match="known names are megnet-2019, megnet-2018"):
        load_pretrained(str(tmp_path / "absent.pt"), tmp_path)
