"""Settings of one machine, read late. What a campaign is stands in its definition, not here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Machine settings from the environment (`CATHODEFLOW_…`) or the defaults below."""

    model_config = SettingsConfigDict(env_prefix="CATHODEFLOW_", extra="forbid", validate_assignment=True)

    cache_dir: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "cathodeflow",
        description="Pretrained weights and other things that can be fetched again.",
    )
    store_file: str = Field("cathodeflow.sqlite", description="File name of the embedded store in a project folder.")
    store_synchronous: Literal["normal", "full"] = Field(
        "normal",
        description="SQLite durability. `normal` survives any killed process; `full` also survives a power cut.",
    )
    store_busy_timeout_s: float = Field(60.0, gt=0, description="How long a writer waits for another one.")
    store_uri: str | None = Field(
        None, description="`mongodb://` address of the server that new projects use; never with a password in it."
    )
    store_password_file: Path | None = Field(
        None, description="File (mode 0600, own user) with the store's password, in place of the environment."
    )
    store_key_password_file: Path | None = Field(
        None, description="The same with the password of the key in `tlsCertificateKeyFile`, where it has one."
    )
    store_timeout_s: float = Field(10.0, gt=0, description="How long to look for the MongoDB server before giving up.")
    store_socket_timeout_s: float = Field(120.0, gt=0, description="How long one answer of the server may take.")
    store_patience_s: float = Field(
        600.0, ge=0, description="How long a job waits for a server that is away before it leaves its result on disk."
    )
    store_first_delay_s: float = Field(0.5, gt=0, description="First delay of that waiting; each is twice the last.")
    store_claim_expiry_s: float = Field(
        120.0,
        gt=0,
        description="A lock or claim of another host's process is broken after so long without a sign of it.",
    )
    threads_per_worker: int = Field(1, ge=1, description="Threads of one worker's torch and BLAS.")
    tick_s: float = Field(2.0, gt=0, description="Seconds between two ticks of a driver with workers of its own.")
    site_tick_s: float = Field(30.0, gt=0, description="The same of one that submits to a cluster's queues.")
    lease_s: float = Field(30.0, gt=0, description="A driver that is silent for so long has lost its campaign.")
    notify_command: str | None = Field(
        None, description="Command that is told of stage changes, failure bursts and ends, as JSON on standard input."
    )
    notify_webhook: str | None = Field(None, description="http(s) address that is told of the same by POST.")
    notify_burst: int = Field(10, ge=1, description="So many failed attempts within the window are a failure burst.")
    notify_burst_window_s: float = Field(600.0, gt=0, description="The window of a failure burst, seconds.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"


def get_settings() -> Settings:
    """Read the settings now.

    Returns
    -------
    Settings
        A fresh object: a changed environment is seen by the next call.
    """
    return Settings()  # type: ignore[call-arg,unused-ignore]


_PREFIX = "CATHODEFLOW_"
# Read elsewhere: secrets, which are no settings, and what one process tells another.
_OTHER_VARIABLES = re.compile(r"PROJECT|DEBUG|STORE_PASSWORD|STORE_KEY_PASSWORD|USER|(NOTICE|REHEARSAL|SLOTS|TESTS)\w*")


def unknown_variables() -> dict[str, str | None]:
    """Return the variables of the environment that look like settings and are none, with what may be meant.

    A misspelt one would have no effect, and nobody would know.
    """
    from difflib import get_close_matches

    known = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields]
    found = [
        name
        for name in os.environ
        if name.startswith(_PREFIX) and name not in known and not _OTHER_VARIABLES.fullmatch(name.removeprefix(_PREFIX))
    ]
    return {name: next(iter(get_close_matches(name, known, n=1)), None) for name in sorted(found)}
