#!/usr/bin/env bash
# Launch a campaign and run its driver with workers, on this machine.
#
# To run driver and workers inside one Slurm allocation instead, remove one # of each line below and submit this file:
##SBATCH --job-name=cathodeflow
##SBATCH --nodes=1
##SBATCH --ntasks=1
##SBATCH --cpus-per-task=8
##SBATCH --time=24:00:00
##SBATCH --output=cathodeflow-%j.log
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: submit.sh [--workers N] [--definition FILE] [PROJECT]

Launch a campaign in the folder PROJECT (made when absent) and run it until it is done, then write its report.
Run it again after an interruption: it goes on where it ended.

  PROJECT            project folder                    (default: nvpf)
  --definition FILE  campaign definition               (default: campaign.yaml beside this script)
  --workers N        worker processes, one thread each (default: SLURM_CPUS_PER_TASK, else the cores of this machine)
  --help             this text

Needs `cflow` on the path: activate the environment first.
USAGE
}

here=${SLURM_SUBMIT_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
definition=$here/campaign.yaml
project=nvpf
workers=${SLURM_CPUS_PER_TASK:-$(getconf _NPROCESSORS_ONLN)}
project_given=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --workers | --definition)
            if [ $# -lt 2 ]; then
                echo "submit.sh: $1 needs a value; see --help" >&2
                exit 2
            fi
            if [ "$1" = --workers ]; then workers=$2; else definition=$2; fi
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

# One thread per worker: two torch processes with two threads each on two cores are forty times slower.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
name=$(sed -n 's/^name:[[:space:]]*\([A-Za-z0-9_-]*\).*/\1/p' "$definition" | head -n 1)

cflow model install megnet-2019
if cflow status --project "$project" --campaign "$name" >/dev/null 2>&1; then
    echo "$name is in $project already: going on with it"
else
    cflow launch "$definition" --project "$project"
fi
cflow run --project "$project" --campaign "$name" --workers "$workers"
cflow report --project "$project" --campaign "$name"
