"""A MongoDB server for tests: a real `mongod` where there is one, else mongo-java-server, which speaks its protocol."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.services.ports import free_ports

REPOSITORY = Path(__file__).parents[2]
JARS = REPOSITORY / ".services" / "mongo"
START_S = 300.0
END_S = 120.0


def why_unavailable() -> str | None:
    """Say what is missing, or None when a server can be started."""
    if shutil.which("mongod"):
        return None
    if not shutil.which("java"):
        return "no mongod and no java on PATH: run `make services`"
    if not list(JARS.glob("mongo-java-server-core-*.jar")):
        return "mongo-java-server is not installed: run `make services`"
    return None


@dataclass
class MongoServer:
    """One server with its data in a folder; it can be killed and started again on the same port.

    With a key and its certificate (PEM) it speaks TLS and nothing else; with a user and a password it lets nobody else
    in. mongo-java-server has no users: those are of the tests' own `UserBackend.java`.
    """

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1))
    tls: tuple[Path, Path] | None = None
    user: tuple[str, str] | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def database_uri(self, name: str) -> str:
        return f"{self.uri}/{name}"

    def command(self) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        if mongod := shutil.which("mongod"):
            data = self.folder / "data"
            data.mkdir(exist_ok=True)
            command = [mongod, "--dbpath", str(data), "--port", str(self.port), "--bind_ip", "127.0.0.1", "--quiet"]
            return [*command, *self._mongods_tls(), *(["--auth"] if self.user else [])]
        jars = os.pathsep.join(str(jar) for jar in sorted(JARS.glob("*.jar")))
        options = ["-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return [
            "java",
            *options,
            "-cp",
            jars + os.pathsep + str(JARS),
            "WireServer",
            str(self.port),
            str(self.folder / "h2"),
            *map(str, self.tls or ()),
        ]

    def _mongods_tls(self) -> list[str]:
        if self.tls is None:
            return []
        both = self.folder / "server.pem"
        both.touch(mode=0o600)
        both.write_text("".join(path.read_text() for path in self.tls))
        return ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(both)]

    def start(self) -> None:
        log = (self.folder if self.folder.exists() else self.folder.parent) / "server.log"
        with log.open("ab") as out:
            known = {} if self.user is None else {"MONGO_USER": self.user[0], "MONGO_PASSWORD": self.user[1]}
            environment = os.environ | known
            self.process = subprocess.Popen(
                self.command(), env=environment, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the MongoDB server ended at once:\n{log.read_text()[-2000:]}")
            with socket.socket() as probe:
                probe.settimeout(5.0)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    self._make_mongods_user()
                    return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the MongoDB server did not listen within {START_S:.0f} s:\n{log.read_text()[-2000:]}")

    def _make_mongods_user(self) -> None:
        """Make the first user, which mongod lets anybody on its own machine do; no other may follow."""
        if self.user is None or not shutil.which("mongod") or (self.folder / "user").exists():
            return
        import pymongo

        options = {} if self.tls is None else {"tls": True, "tlsAllowInvalidCertificates": True}
        with pymongo.MongoClient(self.uri, **options) as client:
            client.admin.command("createUser", self.user[0], pwd=self.user[1], roles=["root"])
        (self.folder / "user").touch()

    def stop(self) -> None:
        """End it in good order (SIGTERM), its data kept."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None
