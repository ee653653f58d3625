#!/usr/bin/env bash
# Start a one-node Slurm with accounting in a folder and stay until it is told to end. For trying, not for use: everything
# runs as one user, and jobs are kept to their memory by watching, not by the kernel.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: start.sh FOLDER

Partitions: cpu and gpu (one GPU that is /dev/null). Point SLURM_CONF at FOLDER/slurm.conf to use it.
FIRST_PORT (6817) and the three ports after it are taken, on this machine's own address only.
USAGE
}

case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    /*) folder=$1 ;;
    *)
        usage >&2
        exit 2
        ;;
esac
PATH=$PATH:/usr/sbin:/sbin
user=$(id -un)
first=${FIRST_PORT:-6817}
ctld=$first dbd=$((first + 1)) d=$((first + 2)) database=$((first + 3))
run=$folder/run
for name in spool state db logs run; do
    mkdir -p "$folder/$name"
done
export SLURM_CONF=$folder/slurm.conf
started=()

end() {
    trap - EXIT TERM INT
    scancel --user="$user" 2>/dev/null || true
    for ((place = ${#started[@]} - 1; place >= 0; place--)); do
        kill -TERM "${started[place]}" 2>/dev/null || true
        wait "${started[place]}" 2>/dev/null || true
    done
}
trap end EXIT
trap 'exit 143' TERM INT

spawn() { # name, command…
    local log=$folder/logs/$1.out
    shift
    "$@" >>"$log" 2>&1 </dev/null &
    started+=($!)
}

until_ready() { # name, command…
    local name=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    echo "start.sh: $name did not come up within a minute:" >&2
    tail -n 20 "$folder/logs/$name.out" >&2
    exit 1
}

[ -s "$run/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$run/munge.key")
spawn munged munged --foreground --force --key-file="$run/munge.key" --socket="$run/munge.sock" \
    --pid-file="$run/munge.pid" --log-file="$folder/logs/munge.log" --seed-file="$run/munge.seed"
until_ready munged test -S "$run/munge.sock"

here=(--no-defaults --user="$user" --datadir="$folder/db")
if [ ! -d "$folder/db/mysql" ]; then
    mariadb-install-db "${here[@]}" --auth-root-authentication-method=normal --skip-test-db >"$folder/logs/install.out" 2>&1
fi
spawn mariadbd mariadbd "${here[@]}" --bind-address=127.0.0.1 --port="$database" --socket="$run/mysql.sock" \
    --pid-file="$run/mysql.pid" --innodb-buffer-pool-size=64M --loose-innodb-snapshot-isolation=OFF
until_ready mariadbd mariadb-admin --no-defaults --socket="$run/mysql.sock" ping
mariadb --no-defaults --user=root --socket="$run/mysql.sock" --execute="
    create database if not exists slurm_acct_db;
    create user if not exists slurm@'127.0.0.1' identified by 'slurm';
    create user if not exists slurm@localhost identified by 'slurm';
    grant all on slurm_acct_db.* to slurm@'127.0.0.1';
    grant all on slurm_acct_db.* to slurm@localhost;"

(umask 077 && cat >"$folder/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$run/munge.sock
DbdHost=localhost
DbdPort=$dbd
SlurmUser=$user
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=$folder/logs/slurmdbd.log
PidFile=$run/slurmdbd.pid
CONF
)
node=one$first
memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
echo "Name=gpu File=/dev/null" >"$folder/gres.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=one_node
SlurmctldHost=$(hostname)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$run/munge.sock
SlurmctldPort=$ctld
SlurmUser=$user
SlurmdUser=$user
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$dbd
AccountingStoragePass=$run/munge.sock
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
JobAcctGatherParams=OverMemoryKill
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.pid
SlurmdSpoolDir=$folder/spool
StateSaveLocation=$folder/state
SlurmctldLogFile=$folder/logs/slurmctld.log
SlurmdLogFile=$folder/logs/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
GresTypes=gpu
NodeName=$node NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$d CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:1
PartitionName=cpu Nodes=$node Default=YES State=UP OverSubscribe=FORCE:4 MaxTime=1-00:00:00
PartitionName=gpu Nodes=$node State=UP OverSubscribe=FORCE:4 MaxTime=1-00:00:00
CONF

spawn slurmdbd slurmdbd -D
until_ready slurmdbd sacctmgr --noheader show cluster
sacctmgr --immediate add cluster one_node >/dev/null 2>&1 || true # there already, from the last start
spawn slurmctld slurmctld -i -D
until_ready slurmctld scontrol ping
spawn slurmd slurmd -D -N "$node"
is_up() {
    case $(sinfo --noheader --partition=cpu --format=%T) in idle | mixed | allocated) ;; *) return 1 ;; esac
}
until_ready slurmd is_up
echo "one-node Slurm is up: export SLURM_CONF=$SLURM_CONF"
# Until a signal, or until a part of it ends.
wait -n || true
echo "start.sh: a part of Slurm has ended; see $folder/logs" >&2
exit 1
