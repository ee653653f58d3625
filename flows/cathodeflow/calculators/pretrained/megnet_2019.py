"""The MEGNet models their authors publish inside the `megnet` source distribution (BSD-3), as our own state files.

The package itself is not installed: it needs an old TensorFlow. pip fetches its source archive, the HDF5 file in it is
checked against a known sha256 and read with h5py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cathodeflow.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from cathodeflow.science.surrogates.megnet import Block, DenseStack, MEGNet, Set2Set

Progress = Callable[[str], None]

REQUIREMENT = "megnet==1.3.2"
ARCHIVE_NAME = "megnet-1.3.2.tar.gz"
LICENCE_MEMBER = "megnet-1.3.2/LICENSE.md"
DOWNLOAD_TIMEOUT_S = 900


@dataclass(frozen=True)
class PublishedModel:
    """One model in the archive and what is needed to rebuild it.

    Attributes
    ----------
    name : str
        Our name for it.
    member : str
        Path in the archive.
    sha256 : str
        Of that file.
    cutoff, basis_end : float
        Graph radius and last Gaussian centre, angstrom (from the model's .json).
    readout_steps : int
        Set2Set iterations, which must match the training.
    """

    name: str
    member: str
    sha256: str
    cutoff: float
    basis_end: float
    readout_steps: int


PUBLISHED = {
    "megnet-2019": PublishedModel(
        name="megnet-2019",
        member="megnet-1.3.2/mvl_models/mp-2019.4.1/formation_energy.hdf5",
        sha256="51de7e372f9fdbd10a519c3fd3cbf6fcd1039cc58e092c85b0f4fef49964f57b",
        cutoff=5.0,
        basis_end=6.0,
        readout_steps=2,
    ),
    "megnet-2018": PublishedModel(
        name="megnet-2018",
        member="megnet-1.3.2/mvl_models/mp-2018.6.1/formation_energy.hdf5",
        sha256="82363f6ef74747f67bccd75fa0237dfaab5f0da519bf5f9cf8f4bcc11c53712b",
        cutoff=4.0,
        basis_end=5.0,
        readout_steps=3,
    ),
}


def weights_path(cache_dir: Path, name: str = "megnet-2019") -> Path:
    """Where the converted weights of a published model are cached."""
    return Path(cache_dir) / "models" / name / "weights.pt"


def install_megnet_2019(cache_dir: Path, progress: Progress | None = None, archive: Path | None = None) -> Path:
    """Fetch, check, convert and cache the Materials Project formation-energy MEGNet of 2019.

    Parameters
    ----------
    cache_dir : Path
        The cache folder of the settings.
    progress : callable, optional
        Receives one short line per step.
    archive : Path, optional
        A `megnet-1.3.2.tar.gz` that was brought here by other means (machines without a network).

    Returns
    -------
    Path
        The weights file. A second call finds it and does nothing.

    Raises
    ------
    MissingDependencyError
        If pip cannot reach a package index.
    ModelError
        If the archive is not the published one.
    """
    return install_published("megnet-2019", cache_dir, progress, archive)


def install_published(
    name: str, cache_dir: Path, progress: Progress | None = None, archive: Path | None = None
) -> Path:
    """Install one of `PUBLISHED`; see `install_megnet_2019`."""
    published = PUBLISHED[name]
    final = weights_path(cache_dir, name)
    if final.is_file():
        return final
    say = progress or (lambda _line: None)
    final.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent.parent, prefix=".install-") as scratch_name:
        scratch = Path(scratch_name)
        if archive is None:
            say(f"fetching {REQUIREMENT} (30 MB) with pip")
            archive = _download(scratch / "download")
        say("checking and converting the weights")
        hdf5, licence = _extract(archive, published, scratch)
        ready = scratch / name
        ready.mkdir()
        _write(ready / "LICENSE.md", licence.encode())
        _write(ready / "weights.pt", convert(hdf5, published))
        _publish(ready, final)
    say(f"installed {name}")
    return final


def _publish(ready: Path, final: Path) -> None:
    """Move the finished folder into place in one step; whoever comes second finds the first one's and keeps it."""
    if final.parent.exists() and not final.is_file():
        shutil.rmtree(final.parent)
    try:
        ready.rename(final.parent)
    except OSError:
        if not final.is_file():
            raise


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _download(folder: Path) -> Path:
    """Let pip fetch the source archive; returns its path.

    pip builds the metadata of a source archive even when it only downloads it. Its own isolated build environment is
    tried first; without it, the setuptools of this environment must know `bdist_wheel` (70.1 or later).
    """
    python = _python_with_pip(folder)
    said = ""
    for isolation in ([], ["--no-build-isolation"]):
        command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "megnet", *isolation, "--dest", str(folder), REQUIREMENT]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            said = f"no answer within {DOWNLOAD_TIMEOUT_S} s"
            continue
        archive = folder / ARCHIVE_NAME
        if result.returncode == 0 and archive.is_file():
            return archive
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        said = (errors or result.stderr.strip().splitlines() or ["no output"])[-1].removeprefix("ERROR: ")
    raise MissingDependencyError(
        f"pip could not fetch {REQUIREMENT} ({said}); connect to a package index, or bring {ARCHIVE_NAME} here and "
        "name it with --archive"
    )


def _python_with_pip(folder: Path) -> str:
    """Return this interpreter, or a scratch environment's where pip is not installed in this one."""
    folder.mkdir()
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if probe.returncode == 0:
        return sys.executable
    try:
        venv.create(folder / "venv", with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise MissingDependencyError("pip is not installed in this environment; install it and try again") from error
    return str(folder / "venv" / "bin" / "python")


def _extract(archive: Path, published: PublishedModel, scratch: Path) -> tuple[Path, str]:
    """Take the weights and the licence out of the archive, checking the former."""
    try:
        with tarfile.open(archive) as tar:
            content = _member(tar, published.member)
            licence = _member(tar, LICENCE_MEMBER).decode()
    except (tarfile.TarError, OSError, KeyError, EOFError) as error:
        raise ModelError(f"{archive.name} is not the source archive of {REQUIREMENT}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != published.sha256:
        raise ModelError(
            f"{published.member} has sha256 {found[:12]}…, expected {published.sha256[:12]}…; "
            "the archive was changed, get it again"
        )
    path = scratch / "formation_energy.hdf5"
    path.write_bytes(content)
    return path, licence


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def convert(hdf5: Path, published: PublishedModel) -> bytes:
    """Turn the Keras file into our weights.

    Parameters
    ----------
    hdf5 : Path
        The published file.
    published : PublishedModel
        Which one it is.

    Returns
    -------
    bytes
        As `science.surrogates.megnet.dump_weights` writes them.
    """
    import h5py
    import numpy as np

    from cathodeflow.science.surrogates.megnet import MEGNet, MEGNetConfig, dump_weights

    arrays: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            parts = name.split("/")
            arrays[f"{parts[0]}/{parts[-1].removesuffix(':0')}"] = np.asarray(item, dtype=np.float32)

    with h5py.File(hdf5, "r") as file:
        file["model_weights"].visititems(collect)
    model = MEGNet(
        MEGNetConfig(
            cutoff=published.cutoff,
            basis_end=published.basis_end,
            readout_steps=published.readout_steps,
            n_species=len(arrays["embedding_1/embeddings"]),
        )
    )
    _fill(model, arrays)
    return dump_weights(model)


def _fill(model: MEGNet, arrays: dict[str, Any]) -> None:
    """Copy the Keras arrays into the network. Keras numbers its dense layers in the order they were made."""
    import torch
    from torch import nn

    def put(linear: nn.Linear, kernel: str, bias: str) -> None:
        weight, offset = torch.tensor(arrays[kernel].T.copy()), torch.tensor(arrays[bias])
        if weight.shape != linear.weight.shape or offset.shape != linear.bias.shape:
            raise ModelError(f"{kernel} does not fit the network")
        linear.weight.data, linear.bias.data = weight, offset

    def dense(stack: DenseStack, first: int) -> None:
        for shift in range(len(stack.layers)):
            put(stack.linear(shift), f"dense_{first + shift}/kernel", f"dense_{first + shift}/bias")

    model.embedding.weight.data = torch.tensor(arrays["embedding_1/embeddings"])
    for stack, first in ((model.atom_encoder, 1), (model.edge_encoder, 3), (model.state_encoder, 5)):
        dense(stack, first)
    for number, block in enumerate(cast("list[Block]", model.blocks)):
        if number:
            base = 7 + 6 * (number - 1)
            for shift, stack in enumerate((block.atom_dense, block.edge_dense, block.state_dense)):
                dense(stack, base + 2 * shift)
        for stack, letter in ((block.edge_update, "e"), (block.atom_update, "v"), (block.state_update, "u")):
            for layer in range(len(stack.layers)):
                prefix = f"meg_net_layer_{number + 1}"
                put(stack.linear(layer), f"{prefix}/weight_{letter}_{layer}", f"{prefix}/bias_{letter}_{layer}")
    for number, readout in ((1, cast("Set2Set", model.atom_readout)), (2, cast("Set2Set", model.edge_readout))):
        prefix = f"set2_set_{number}"
        put(readout.project, f"{prefix}/x_to_m_weight", f"{prefix}/x_to_m_bias")
        put(readout.recurrent, f"{prefix}/recurrent_kernel", f"{prefix}/recurrent_bias")
    dense(model.head, 19)
