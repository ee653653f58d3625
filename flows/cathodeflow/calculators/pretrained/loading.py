"""Load a pretrained network by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cathodeflow.calculators.pretrained.megnet_2019 import PUBLISHED, weights_path
from cathodeflow.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from cathodeflow.science.surrogates.megnet import MEGNet


def load_pretrained(name: str, cache_dir: Path) -> MEGNet:
    """Load the network a training starts from, in eval mode.

    Parameters
    ----------
    name : str
        "megnet-2019" (or "megnet-2018"), installed before; the path of a weights file of ours; or whatever
        `matgl.load_model` takes for a MEGNet: a hub name (where the hub can be reached) or the folder of a saved model.
    cache_dir : Path
        The cache folder of the settings.

    Returns
    -------
    MEGNet

    Raises
    ------
    MissingDependencyError
        If the published model is not installed.
    ModelError
        If the file is damaged, or the name means nothing to matgl either.
    """
    from cathodeflow.science.surrogates.megnet import parse_weights

    path = weights_path(cache_dir, name) if name in PUBLISHED else Path(name)
    if path.is_file():
        return parse_weights(path.read_bytes())
    if name in PUBLISHED:
        raise MissingDependencyError(f"{name} is not installed; run `cflow model install {name}`")
    if not path.is_dir() and (len(path.parts) > 1 or path.suffix):
        raise ModelError(f"there is no weights file {name}; known names are {', '.join(PUBLISHED)}")
    from cathodeflow.calculators.pretrained.matgl_models import load_matgl

    return load_matgl(name)
