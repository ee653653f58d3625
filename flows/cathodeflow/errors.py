"""The few kinds of error this package raises.

Each names its cause and the remedy in one sentence; the command line prints that sentence and nothing else.
"""

from __future__ import annotations


class CathodeflowError(Exception):
    """Root of every error raised on purpose. `exit_code` is what the command line returns for it."""

    exit_code = 1


class DefinitionError(CathodeflowError):
    """A campaign definition (or another input file) that cannot be used; says the key and the line."""

    exit_code = 2


class HostError(DefinitionError):
    """A host crystal whose geometry or sites cannot carry the campaign."""


class CalculationError(CathodeflowError):
    """An external program or potential that did not give a usable result.

    Parameters
    ----------
    message : str
        What happened and what to do.
    reason : str
        One of the outcome reasons of `cathodeflow.records.outcomes.Reason`, for counting.
    """

    def __init__(self, message: str, reason: str = "calculation_error") -> None:
        super().__init__(message)
        self.reason = reason

    def to_dict(self) -> dict[str, str]:
        """Return what FireWorks keeps of the error beside its traceback."""
        return {"reason": self.reason}


class ModelError(CathodeflowError):
    """Weights that are absent, damaged or do not fit, or data a surrogate cannot be trained on."""


class StoreError(CathodeflowError):
    """The project's database cannot be opened, read or written (full disk, read-only folder, damaged file)."""

    exit_code = 3


class CampaignError(CathodeflowError):
    """A request the campaign's present state forbids (name taken, paused, definition changed, failed too often)."""

    exit_code = 4


class StaleCampaignError(CampaignError):
    """Somebody else moved the campaign on meanwhile; reading it again and deciding anew is the remedy."""


class LeaseError(CampaignError):
    """Another driver holds the campaign."""

    exit_code = 5


class MissingDependencyError(CathodeflowError):
    """A program or package that the request needs is not installed; says how to get it."""

    exit_code = 6


class SchedulerError(CathodeflowError):
    """Slurm refused a request or cannot be asked; says which command, and what it answered."""

    exit_code = 7
