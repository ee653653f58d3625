"""cathodeflow: a campaign manager for discovering battery electrodes."""

__version__ = "0.1.0"
