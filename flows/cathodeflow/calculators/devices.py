"""The device that networks compute on."""

from __future__ import annotations


def best_device() -> str:
    """Return ``cuda`` where torch sees a GPU, else ``cpu``; asked in the job, for a login node has other devices."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
