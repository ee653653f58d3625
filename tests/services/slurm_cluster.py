"""A real one-node Slurm with accounting for the tests: munge, MariaDB, slurmdbd, slurmctld and slurmd in a folder.

Everything has its own ports, sockets and files below one folder; nothing outside it is read or written. It is ended
with `stop`, which also ends what the jobs left. Debian: `slurm-wlm slurmdbd munge mariadb-server` (`make services`).
"""

from __future__ import annotations

import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.services.ports import free_ports

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "squeue", "sacct")
REMEDY = "`make services` installs it (Debian: slurm-wlm slurmdbd munge mariadb-server)"
MEMORY_MB = 4000
GIVING_WAY = {
    "spot-requeue": ("preemptmode=requeue",),
    "spot-cancel": ("preemptmode=cancel",),
    "spot-grace": ("preemptmode=cancel", "gracetime=2"),
}
"""QOS whose jobs give way to those of QOS urgent, by what Slurm then does with them."""
UP = {"idle", "mixed", "allocated"}
_CLUSTERS = itertools.count()


def missing_programs() -> list[str]:
    """Programs of the cluster that are not on the path."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass
class SlurmCluster:
    """The cluster in a folder.

    Attributes
    ----------
    folder : Path
        Short, for sockets have short names.
    node : str
        Name of its one node.
    started_in_s : float
        How long it took.
    preemption : str
        What gives way: jobs of a `partition` to those of another, or of a `qos`; jobs cannot share cores then. Nothing
        where it is empty.
    """

    folder: Path
    # Unique on this machine: control groups are named by the node, and a slurmd that starts clears those of its name.
    node: str = field(default_factory=lambda: f"n{os.getpid()}x{next(_CLUSTERS)}")
    started_in_s: float = 0.0
    preemption: str = ""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What commands of this cluster need in their environment."""
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start all parts and wait until jobs can be submitted."""
        began = time.monotonic()
        for name in ("spool", "state", "db", "logs", "run"):
            (self.folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        first = free_ports(4)
        self._ports = {name: first + place for place, name in enumerate(("database", "dbd", "ctld", "d"))}
        self._write_configuration()
        self._start_munge()
        self._start_database()
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._wait("slurmdbd", lambda: self.succeeds("sacctmgr", "-n", "show", "cluster"))
        self.succeeds("sacctmgr", "-i", "add", "cluster", "test")
        if self.preemption == "qos":
            self._add_qualities()
        self.start_slurmctld()
        self.start_slurmd()
        self.started_in_s = time.monotonic() - began

    def start_slurmctld(self) -> None:
        """Start the controller and wait until it answers."""
        # -i: killed before it first saved all parts of its state, one of 26.05 refuses to start.
        self._spawn("slurmctld", ["slurmctld", "-D", "-i"])
        self._wait("slurmctld", lambda: self.succeeds("scontrol", "ping") and self.succeeds("sinfo", "-h"))

    def start_slurmd(self) -> None:
        """Start the node's daemon and wait until the node takes jobs."""
        self._spawn("slurmd", ["slurmd", "-D", "-N", self.node])
        self._wait(
            "slurmd",
            lambda: set(self.output("sinfo", "-h", "-o", "%T").split()) & UP,
        )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End one part (slurmctld, slurmd, …) by a signal and wait for it."""
        process = self._processes.pop(name)
        process.send_signal(number)
        process.wait(120)

    def stop(self) -> None:
        """End the jobs and every part."""
        if "slurmctld" in self._processes and "slurmd" in self._processes:
            self.wait_until_empty()
        for name in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            part = self._processes.pop(name, None)
            if part is None or part.poll() is not None:
                continue
            part.terminate()
            try:
                part.wait(60)
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait(10)
        self._end_what_is_left()
        self._remove_control_groups()

    def _remove_control_groups(self) -> None:
        for top in Path("/sys/fs/cgroup").glob(f"*/slurm_{self.node}"):
            for folder in sorted((path for path in [top, *top.rglob("*")] if path.is_dir()), reverse=True):
                with suppress(OSError):  # still in use by a process that is ending
                    folder.rmdir()

    def wait_until_empty(self, seconds: float = 120.0) -> None:
        """End all jobs."""
        user, deadline = pwd.getpwuid(os.getuid()).pw_name, time.monotonic() + seconds
        while self.output("squeue", "-h") and time.monotonic() < deadline:
            self.succeeds("scancel", "-s", "KILL", "--full", "-u", user)
            self.succeeds("scancel", "-u", user)
            time.sleep(0.2)

    def _end_what_is_left(self) -> None:
        """End jobs that outlived the daemons, by their slurmstepd, whose environment names this cluster."""
        mine = str(self.folder / "slurm.conf")
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.name() == "slurmstepd" and process.environ().get("SLURM_CONF") == mine:
                    for child in (*process.children(recursive=True), process):
                        child.kill()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this cluster."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, check=False)

    def succeeds(self, *command: str) -> bool:
        """Whether a command of this cluster ends well."""
        return self.run(*command).returncode == 0

    def output(self, *command: str) -> str:
        """What a command of this cluster prints."""
        return self.run(*command).stdout

    # -- its parts -----------------------------------------------------------------------------------------------

    def _spawn(self, name: str, command: list[str]) -> None:
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        with (self.folder / "logs" / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def _wait(self, name: str, ready: Callable[[], object], seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "logs" / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"{name} did not come up:\n{log[-3000:]}")
            time.sleep(0.1)

    def _start_munge(self) -> None:
        run = self.folder / "run"
        key = run / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        options = {"socket": "munge.sock", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        files = [f"--{option}={run / name}" for option, name in options.items()]
        self._spawn("munged", ["munged", "-F", "--force", f"--key-file={key}", *files])
        self._wait("munged", (run / "munge.sock").exists)

    def _start_database(self) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        data, here = self.folder / "db", self.folder / "run" / "mysql.sock"
        plain = ["--no-defaults", f"--datadir={data}", f"--user={user}"]
        self._install_database(plain)
        port = self._ports["database"]
        quick = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--innodb-buffer-pool-size=64M"]
        # On by default from MariaDB 11.6, and slurmdbd (26.05) warns that it dies of it; older ones do not know it.
        quick += ["--loose-innodb-snapshot-isolation=OFF"]
        address = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={here}", f"--pid-file={here}.pid"]
        self._spawn("mariadbd", ["mariadbd", *plain, *address, *quick])
        self._wait("mariadbd", lambda: self.succeeds("mariadb-admin", "--no-defaults", "-S", str(here), "ping"))
        statements = (
            "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'slurm';"
            "create user slurm@localhost identified by 'slurm';"
            "grant all on slurm_acct_db.* to slurm@'127.0.0.1'; grant all on slurm_acct_db.* to slurm@localhost;"
        )
        subprocess.run(["mariadb", "--no-defaults", "-u", "root", "-S", str(here), "-e", statements], check=True)

    def _install_database(self, plain: list[str]) -> None:
        """Make the system tables; the server that is started for it fails now and then on a crowded machine."""
        command = ["mariadb-install-db", *plain, "--auth-root-authentication-method=normal", "--skip-test-db"]
        for _ in range(3):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            shutil.rmtree(self.folder / "db")
            (self.folder / "db").mkdir()
        raise RuntimeError(f"mariadb-install-db failed:\n{(done.stdout + done.stderr)[-3000:]}")

    def _add_qualities(self) -> None:
        """Make the QOS `urgent`, and those that give way to it."""
        for name, options in GIVING_WAY.items():
            self._account("add", "qos", name, *options)
        names = ",".join(GIVING_WAY)
        self._account("add", "qos", "urgent", f"preempt={names}")
        self._account("modify", "account", "root", "set", f"qos=normal,urgent,{names}")

    def _account(self, *command: str) -> None:
        done = self.run("sacctmgr", "-i", *command)
        if done.returncode:
            raise RuntimeError(f"sacctmgr {' '.join(command)}: {done.stdout}{done.stderr}")

    def _limits(self) -> str:
        """How memory limits are kept: by the kernel where its control groups can be written, else by watching."""
        if not os.access("/sys/fs/cgroup/memory", os.W_OK):
            return "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherParams=OverMemoryKill\n"
        (self.folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\n"
        )
        return "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n"

    def _write_configuration(self) -> None:
        user, here, logs = pwd.getpwuid(os.getuid()).pw_name, self.folder, self.folder / "logs"
        munge = f"AuthType=auth/munge\nAuthInfo=socket={here / 'run' / 'munge.sock'}\n"
        database = self.folder / "slurmdbd.conf"
        database.write_text(
            f"{munge}DbdHost=localhost\nDbdPort={self._ports['dbd']}\nSlurmUser={user}\n"
            f"StorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\nStoragePort={self._ports['database']}\n"
            f"StorageUser=slurm\nStoragePass=slurm\nStorageLoc=slurm_acct_db\n"
            f"LogFile={logs}/slurmdbd.log\nPidFile={here}/run/slurmdbd.pid\n"
        )
        database.chmod(0o600)
        (here / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        (here / "slurm.conf").write_text(
            f"ClusterName=test\nSlurmctldHost={socket.gethostname()}(127.0.0.1)\n{munge}"
            f"SlurmctldPort={self._ports['ctld']}\nSlurmUser={user}\nSlurmdUser={user}\n"
            f"AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=localhost\n"
            "AccountingStorageEnforce=associations,qos\n"
            f"AccountingStoragePort={self._ports['dbd']}\nAccountingStoragePass={here / 'run' / 'munge.sock'}\n"
            f"JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=1\n"
            f"FirstJobId={random.randint(1, 9) * 10_000}\n"
            f"{self._limits()}ReturnToService=2\nMpiDefault=none\n"
            f"SlurmctldPidFile={here}/run/slurmctld.pid\nSlurmdPidFile={here}/run/slurmd.pid\n"
            f"SlurmdSpoolDir={here}/spool\nStateSaveLocation={here}/state\n"
            f"SlurmctldLogFile={logs}/slurmctld.log\nSlurmdLogFile={logs}/slurmd.log\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\n"
            "SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=100000\n"
            "SlurmctldTimeout=10\nSlurmdTimeout=60\nKillWait=2\nOverTimeLimit=0\nMinJobAge=300\n"
            "GresTypes=gpu\nDefMemPerCPU=400\n"
            f"NodeName={self.node} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={self._ports['d']} "
            f"CPUs={max(os.cpu_count() or 1, 2)} RealMemory={MEMORY_MB} Gres=gpu:1 State=UNKNOWN\n"
            f"{self._partitions()}"
        )

    def _partitions(self) -> str:
        """Partitions cpu, gpu and dft, whose jobs share cores; or spot, which gives way to urgent; or cpu alone."""
        if not self.preemption:
            names = ("cpu", "gpu", "dft")
            return "".join(
                self._partition(name, "OverSubscribe=FORCE:4" + " Default=YES" * (name == "cpu")) for name in names
            )
        if self.preemption == "qos":
            return f"PreemptType=preempt/qos\nPreemptMode=REQUEUE\n{self._partition('cpu', 'Default=YES')}"
        return (
            "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n"
            f"{self._partition('spot', 'Default=YES PriorityTier=1 PreemptMode=REQUEUE')}"
            f"{self._partition('urgent', 'PriorityTier=9 PreemptMode=OFF')}"
        )

    def _partition(self, name: str, options: str) -> str:
        return f"PartitionName={name} Nodes={self.node} State=UP MaxTime=01:00:00 {options}\n"
