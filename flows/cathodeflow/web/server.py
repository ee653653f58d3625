"""Serving the site: one process of gunicorn with threads, on this machine only unless there are accounts."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cathodeflow.errors import CampaignError, DefinitionError, StoreError
from cathodeflow.web.access import AccessFile, Role, new_token_account
from cathodeflow.web.guard import GuardOptions

if TYPE_CHECKING:
    from cathodeflow.storage.connection import Project
    from cathodeflow.web.kept_counts import KeptCounts
    from cathodeflow.web.served import Served

LOOPBACK = "127.0.0.1"
PORT = 8765
THREADS = 8
OWN_ACCOUNT = "whoever started the dashboard"


@dataclass(frozen=True)
class ServerOptions:
    """Where and how the dashboard is served.

    Attributes
    ----------
    host, port : str, int
        Where to listen; port 0 takes a free one.
    host_names : tuple of str
        Further names by which it may be asked for.
    certificate, key : Path or None
        For TLS.
    """

    host: str = LOOPBACK
    port: int = PORT
    host_names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_options(options: ServerOptions, access: AccessFile) -> None:
    """Refuse what would lay the project open.

    Raises
    ------
    CampaignError
        Others could reach it, and there are no accounts.
    DefinitionError
        Half of what TLS needs is given, or a file of it is absent or cannot be used.
    """
    if not is_loopback(options.host) and not access.accounts:
        raise CampaignError(
            f"the dashboard listens on {options.host} only when there are accounts: add one with "
            "`cflow dashboard add-user NAME --role viewer`, or leave --host out and use an SSH tunnel"
        )
    if (options.certificate is None) != (options.key is None):
        raise DefinitionError("TLS needs both --certificate and --key")
    for path in (options.certificate, options.key):
        if path is not None and not path.is_file():
            raise DefinitionError(f"there is no file {path}: name the PEM files of the certificate and of its key")
    if options.certificate is not None and options.key is not None:
        _try_certificate(options.certificate, options.key)


def _try_certificate(certificate: Path, key: Path) -> None:
    """Load the files once: the server would listen, and close each connection without a word to its browser."""
    try:
        # An encrypted key would be asked for at a terminal by each worker of the server.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise DefinitionError(
            f"{certificate} and {key} cannot be used for TLS ({error}): give the certificate, with those between it "
            "and its authority, and its own key without a password, both as PEM"
        ) from error


def listen(options: ServerOptions) -> socket.socket:
    """Open the port.

    Raises
    ------
    CampaignError
        It is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((options.host, options.port))
    except OSError as error:
        opened.close()
        raise CampaignError(
            f"the dashboard cannot listen on {options.host}:{options.port} ({error.strerror}): choose another --port"
        ) from error
    opened.listen(128)
    opened.set_inheritable(True)
    return opened


def address_of(options: ServerOptions, opened: socket.socket) -> str:
    """Return the address to open in a browser."""
    scheme = "https" if options.certificate is not None else "http"
    host, port = opened.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def own_token(access: AccessFile) -> str | None:
    """Give whoever starts a dashboard without accounts a token: other people on this machine have none."""
    if access.accounts:
        return None
    account, token = new_token_account(OWN_ACCOUNT, Role.OPERATOR, None)
    access.add_for_this_process(account)
    return token


def serve(project: Project, access: AccessFile, options: ServerOptions, opened: socket.socket) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    project : Project
        The open project.
    access : AccessFile
        The accounts.
    options : ServerOptions
        As checked by `check_options`.
    opened : socket
        From `listen`.
    """
    from gunicorn.app.base import BaseApplication

    from cathodeflow.storage.connection import open_project

    class Application(BaseApplication):  # type: ignore[misc,unused-ignore]
        """gunicorn, told what to do here and not by files or arguments."""

        def load_config(self) -> None:
            for name, value in _settings(options, opened).items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            # Opened in the process that serves: a client of a server does not come whole through the fork, and two
            # threads that are the first to use it at once close its connections for each other.
            return _site(open_project(project.folder), access, options)

    Application().run()


def _settings(options: ServerOptions, opened: socket.socket) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "bind": f"fd://{opened.fileno()}",
        "workers": 1,  # failed logins and the running sums are in its memory
        "worker_class": "gthread",
        "threads": THREADS,
        "timeout": 120,
        "graceful_timeout": 5,
        "keepalive": 5,
        "loglevel": "warning",
        "limit_request_line": 8190,
        "forwarded_allow_ips": "",
    }
    if options.certificate is not None and options.key is not None:
        settings |= {"certfile": str(options.certificate), "keyfile": str(options.key)}
    return settings


def _site(project: Project, access: AccessFile, options: ServerOptions) -> Any:
    """Make the site in the process that serves it: the threads of another would not have come along."""
    from cathodeflow.web.site import create_site

    written = logging.StreamHandler()
    written.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("cathodeflow.dashboard")
    log.setLevel(logging.INFO)
    log.addHandler(written)
    names = (*options.host_names, options.host)
    guard = GuardOptions(names, secure=options.certificate is not None)
    served = _in_background(project)
    return create_site(project, access, guard, served.ledger, served.counts, _in_background)


def _in_background(project: Project) -> Served:
    """Keep sums and counts of a project up to date beside the requests."""
    from cathodeflow.web.kept_counts import KeptCounts
    from cathodeflow.web.served import Served
    from cathodeflow.web.throughput import Ledger, keep_counting

    served = Served(project, Ledger(project), KeptCounts(project))
    keep_counting(served.ledger)
    threading.Thread(target=_warm_up, args=(served.counts,), name="warm", daemon=True).start()
    return served


def _warm_up(counts: KeptCounts) -> None:
    """Do what the first pages would have to wait seconds for."""
    from pymongo.errors import PyMongoError

    from cathodeflow.web.campaign_page import count_ahead

    with suppress(StoreError, PyMongoError):  # the pages say so themselves
        count_ahead(cast("Project", counts))
    import_module("pymatgen.core")  # for the first crystal
