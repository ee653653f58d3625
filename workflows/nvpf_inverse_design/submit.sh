#!/usr/bin/env bash
# Launch a campaign and run its driver: with workers on this machine, or on the queues of a site (--site).
#
# To run driver and workers inside one Slurm allocation, remove one # of each line below and submit this file with sbatch:
##SBATCH --job-name=cathodeflow
##SBATCH --nodes=1
##SBATCH --ntasks=1
##SBATCH --cpus-per-task=8
##SBATCH --time=24:00:00
##SBATCH --signal=B:USR1@300
##SBATCH --requeue
##SBATCH --open-mode=append
##SBATCH --output=cathodeflow-%j.log
set -euo pipefail
{ # read to its end before it runs: a driver runs for days, and this file may change meanwhile

usage() {
    cat <<'USAGE'
Usage: submit.sh [--workers N | --site NAME [--as-job]] [--definition FILE] [PROJECT]

Launch a campaign in the folder PROJECT (made when absent) and run it until it is done, then write its report.
Run it again after an interruption: it goes on where it ended.

  PROJECT            project folder                    (default: nvpf)
  --definition FILE  campaign definition               (default: campaign.yaml beside this script)
  --workers N        worker processes, one thread each (default: SLURM_CPUS_PER_TASK, else the cores of this machine)
  --site NAME        submit the jobs to the queues of this site (`cflow site show`); only the driver runs here
  --as-job           submit the driver itself as a Slurm job of one core; SBATCH_PARTITION, SBATCH_ACCOUNT,
                     SBATCH_TIMELIMIT and the like say where and how long; before its time is over it goes back into
                     the queue by itself, until the campaign is done, has stopped, or you `scancel` it
  --help             this text

Needs `cflow` on the path: activate the environment first.
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ ! -f "$here/campaign.yaml" ]; then
    here=${SLURM_SUBMIT_DIR:-$here} # sbatch runs a copy of this file from its spool
fi
definition=$here/campaign.yaml
project=nvpf
workers=${SLURM_CPUS_PER_TASK:-$(getconf _NPROCESSORS_ONLN)}
project_given=
site=
as_job=
arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --as-job)
            as_job=yes
            shift
            ;;
        --workers | --definition | --site)
            if [ $# -lt 2 ]; then
                echo "submit.sh: $1 needs a value; see --help" >&2
                exit 2
            fi
            case $1 in
                --workers) workers=$2 ;;
                --definition) definition=$2 ;;
                --site) site=$2 ;;
            esac
            shift 2
            ;;
        -*)
            echo "submit.sh: unknown option $1; see --help" >&2
            exit 2
            ;;
        *)
            if [ -n "$project_given" ]; then
                echo "submit.sh: one project folder at a time, not also $1; see --help" >&2
                exit 2
            fi
            project=$1
            project_given=yes
            shift
            ;;
    esac
done
case $workers in
    '' | *[!0-9]*)
        echo "submit.sh: --workers takes a number, not '$workers'; see --help" >&2
        exit 2
        ;;
esac
if [ ! -f "$definition" ]; then
    echo "submit.sh: no definition at $definition; name one with --definition" >&2
    exit 2
fi
if ! command -v cflow >/dev/null; then
    echo "submit.sh: cflow is not on the path; activate the environment of cathodeflow first" >&2
    exit 6
fi
if [ -n "$site" ]; then
    cflow site show "$site" >/dev/null # says now, and not when a job begins, that there is no such site
fi

submit_driver() { # further options of sbatch
    # The job runs this very script without --as-job; SLURM_SUBMIT_DIR would name another folder than this file's.
    local kept=() argument command
    for argument in "${arguments[@]}"; do
        [ "$argument" = --as-job ] || kept+=("$argument")
    done
    printf -v command '%q ' "$here/submit.sh" "${kept[@]}" --definition "$definition"
    # A driver may start again by itself after a node failure or a preemption: it goes on where it ended.
    [ -n "${SBATCH_SIGNAL:-}" ] || set -- --signal=B:USR1@120 "$@"
    sbatch --job-name=cathodeflow-driver --ntasks=1 --cpus-per-task=1 --requeue \
        --open-mode=append --output=cathodeflow-driver-%j.log "$@" --wrap "exec $command"
}

if [ -n "$as_job" ]; then
    if [ -z "$site" ]; then
        echo "submit.sh: --as-job needs --site: the driver of local workers would have one core for all of them" >&2
        exit 2
    fi
    submit_driver
    exit
fi

time_is_up=
in_job=
if [ -n "${SLURM_JOB_ID:-}" ] && [ ! -t 0 ]; then # no terminal of `salloc`, where Ctrl-C ends a driver
    in_job=yes
    trap 'time_is_up=$SECONDS' USR1 # a shell without a trap would die of it
fi

# One thread per worker: two torch processes with two threads each on two cores are forty times slower.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
name=$(sed -n "s/^name:[[:space:]]*[\"']\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p" "$definition" | head -n 1)
if [ -z "$name" ]; then
    echo "submit.sh: $definition has no line that begins with name: and the campaign's name" >&2
    exit 2
fi

cflow model install megnet-2019
if cflow status --project "$project" --campaign "$name" >/dev/null 2>&1; then
    echo "$name is in $project already: going on with it"
else
    cflow launch "$definition" --project "$project"
fi
if [ -n "$site" ]; then
    where=(--site "$site")
else
    where=(--workers "$workers")
fi

go_on_later() { # put this job back into the queue, or another one in its place
    # A job that is over, such as a cancelled one, is not what `Incomplete` takes back.
    if scontrol requeue Incomplete "$SLURM_JOB_ID"; then
        echo "submit.sh: the time of this job is over: it is back in the queue and goes on from there"
    elif [ -n "$site" ] && submit_driver --dependency="afterany:$SLURM_JOB_ID" --begin=now+60; then
        echo "submit.sh: the time of this job is over, and it cannot be queued again: another one goes on"
    else
        echo "submit.sh: the time of this job is over, and it cannot be queued again: submit it again" >&2
        return 1
    fi
}

if [ -n "$in_job" ]; then
    # Slurm signals this shell, not what it started: TERM when the job is cancelled or preempted, USR1 before its time
    # is over. The driver ends in good order either way; one that cannot is ended, since nothing is lost by that.
    if [ -n "$time_is_up" ]; then
        echo "submit.sh: the time of this job was over before its driver began: raise SBATCH_TIMELIMIT" >&2
        exit 1
    fi
    driver=
    cancelled=
    tell_driver() { [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null || true; }
    trap 'cancelled=yes; tell_driver' TERM
    trap '[ -n "$time_is_up" ] || { time_is_up=$SECONDS; tell_driver; }' USR1
    cflow run --project "$project" --campaign "$name" "${where[@]}" &
    driver=$!
    [ -z "$cancelled$time_is_up" ] || tell_driver # it came before the driver had a number
    [ -n "$site" ] && grace=60 || grace=240       # workers of this job finish their present jobs
    while kill -0 "$driver" 2>/dev/null; do       # a signal breaks into `wait`
        if [ -z "$time_is_up" ]; then
            wait "$driver" || true
            continue
        fi
        [ $((SECONDS - time_is_up)) -lt "$grace" ] || kill -KILL "$driver" 2>/dev/null || true
        sleep 1
    done
    ended=0
    wait "$driver" || ended=$?
    driver=
    trap - TERM
    if [ -n "$time_is_up" ] && [ -z "$cancelled" ]; then
        case $ended in # left in good order, without its server, or ended; all else would come again
            3 | 130 | 137 | 143) go_on_later && exit || exit "$ended" ;;
        esac
    fi
    [ "$ended" -eq 0 ] || exit "$ended"
else
    cflow run --project "$project" --campaign "$name" "${where[@]}"
fi
cflow report --project "$project" --campaign "$name"
exit
}
