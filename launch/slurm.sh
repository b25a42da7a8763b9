#!/usr/bin/env bash
# A jaxtag command on the nodes of a SLURM cluster.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'END'
usage: launch/slurm.sh --nodes N [options] -- COMMAND...

Writes a batch script and submits it with sbatch. It runs `jaxtag preflight` and then COMMAND in one process a node,
which find each other by SLURM's own variables. Every process has its log, LOGS/JOB/run-PROCESS.log. The run is told to
save --signal seconds before its time is up; exit code 75 (saved, or a peer was lost) and processes killed from outside
put the job back into the queue, and so does a preemption; scancel does not. Run it where sbatch is, with the environment to use active:
the job inherits it. The run folder, the dataset and LOGS lie where every node sees them.

  --nodes N
  --gpus-per-node G
  --processes-per-node P   (default 1: a process uses all GPUs of its node; P>1 shares them out, G/P to each)
  --cpus-per-task C
  --mem SIZE               of a node, as sbatch takes it; 0 is all
  --time LIMIT             as sbatch takes it: 4:00:00, 2-00:00:00
  --partition, --account, --qos, --constraint, --reservation, --exclude NAME
  --job-name NAME          (default jaxtag)
  --signal SECONDS         before the end of --time at which the run is told to save (default 120)
  --grace SECONDS          that the other processes have to end after the first (default 120)
  --restarts N             requeues at most so often without a new checkpoint in --run or --out of COMMAND (default 3)
  --setup FILE             shell file that the batch script sources first: modules, environment, NCCL settings
  --xla-flags NAME|FILE    launch/xla_flags/NAME.txt, or a file like it
  --no-preflight
  --logs DIR               (default: runs/logs/slurm)
  --dry-run                print the batch script and the commands, run nothing
  -h, --help

examples:
  launch/slurm.sh --nodes 1 --gpus-per-node 8 --time 12:00:00 -- jaxtag train zsl/cnn --data DATA --run RUN
  launch/slurm.sh --nodes 8 --gpus-per-node 8 --partition h100 --account vision --time 2-00:00:00 --setup setup.sh --xla-flags gpu_h100 -- jaxtag train hmemn2n/hmemn2n --data DATA --run RUN
  launch/slurm.sh --nodes 2 --processes-per-node 4 --cpus-per-task 8 --no-preflight -- jaxtag evaluate RUN
END
}

nodes='' gpus='' processes=1 job=jaxtag warning=120 grace=120 restarts=3 setup='' xla='' preflight=yes logs=runs/logs/slurm
dry_run='' header=()
while [ $# -gt 0 ]; do
  case $1 in --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
  case $1 in
    --nodes | --gpus-per-node | --processes-per-node | --cpus-per-task | --mem | --time | --partition | --account | --qos | \
      --constraint | --reservation | --exclude | --job-name | --signal | --grace | --restarts | --setup | --xla-flags | --logs)
      value "$1" $#
      case $1 in
        --nodes) whole "$1" "$2" 1 && nodes=$2 ;;
        --gpus-per-node) whole "$1" "$2" 1 && gpus=$2 ;;
        --processes-per-node) whole "$1" "$2" 1 && processes=$2 ;;
        --cpus-per-task) whole "$1" "$2" 1 && header+=("$1=$2") ;;
        --mem | --time | --partition | --account | --qos | --constraint | --reservation | --exclude)
          plain "$1" "$2" && header+=("$1=$2")
          ;;
        --job-name) plain "$1" "$2" && job=$2 ;;
        --signal) whole "$1" "$2" 1 && warning=$2 ;;
        --grace) whole "$1" "$2" 1 && grace=$2 ;;
        --restarts) whole "$1" "$2" 0 && restarts=$2 ;;
        --setup) readable "$1" "$2" && setup=$(cd "$(dirname "$2")" && pwd)/${2##*/} ;;
        --xla-flags) xla=$2 ;;
        --logs) logs=$2 ;;
      esac
      shift 2
      ;;
    --no-preflight) preflight='' && shift ;;
    --dry-run) dry_run=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see --help, and write -- before the command" ;;
  esac
done
[ -n "$nodes" ] || fail "how many nodes? Give --nodes; see --help"
command_given $#
((${gpus:-$processes} % processes == 0)) || fail "--processes-per-node $processes does not divide --gpus-per-node $gpus"
[[ $logs == /* ]] || logs=$PWD/$logs
plain --logs "$logs"
FLAGS='' FLAGS_VARIABLE=''
[ -z "$xla" ] || flags "$xla"
need sbatch

# batch COMMAND...: the batch script.
batch() {
  local line
  echo '#!/bin/bash'
  for line in "--job-name=$job" "--nodes=$nodes" "--ntasks-per-node=$processes" ${gpus:+"--gpus-per-node=$gpus"} \
    "${header[@]}" --requeue --open-mode=append "--signal=TERM@$warning" "--output=$logs/job-%j.log"; do
    echo "#SBATCH $line"
  done
  echo "# Written by launch/slurm.sh. --signal without B: tells the processes themselves, not this shell."
  echo "set -uo pipefail"
  printf '%s=%q\n' logs "$logs" grace "$grace" restarts "$restarts" folder "$(folder_of "$@")"
  printf 'command=(%s)\n' "$(quoted "$@")"
  [ -z "$FLAGS" ] || printf 'export %s=%q\n' "$FLAGS_VARIABLE" "$FLAGS"
  if [ -n "$setup" ]; then printf 'source %q || exit 2\n' "$setup"; fi
  declare -f progress cause again
  cat <<'END'
logs=$logs/$SLURM_JOB_ID
mkdir -p "$logs" || exit 1
# A SIGTERM to this shell ends the job: scancel, or the time is up. The processes are told, by scancel because srun makes
# a SIGTERM of its own a SIGKILL of theirs; nothing is requeued.
told=
trap 'told=yes; scancel --signal=TERM "$SLURM_JOB_ID" || true' TERM

# What each process does: the command, handing signals on to it, and its exit code where this script finds it.
# shellcheck disable=SC2016
process='code=$1
shift
trap : TERM INT
"$@" </dev/null &
ended=0
while :; do
  wait $! && ended=0 || ended=$?
  kill -0 $! 2>/dev/null || break
  kill -TERM $!
done
echo "$ended" >"$code.$SLURM_PROCID"
exit "$ended"'

# step NAME COMMAND...: COMMAND in every process; sets RESULT to its exit code.
step() {
  local name=$1 child code=0 file codes=()
  shift
  rm -f "$logs/$name".exit.*
  srun --kill-on-bad-exit=0 --wait="$grace" --open-mode=append --output="$logs/$name-%t.log" \
    bash -c "$process" process "$logs/$name.exit" "$@" </dev/null &
  child=$!
  while :; do
    wait "$child" && code=0 || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  for file in "$logs/$name".exit.*; do [ ! -f "$file" ] || codes+=("$(cat "$file")"); done
  # A process without an exit code was killed, with its node or by SLURM.
  if [ "$code" != 0 ] && [ "${#codes[@]}" -lt "$SLURM_NTASKS" ]; then codes+=(137); fi
  RESULT=$(cause "${codes[@]}" "$code")
  echo "$(date '+%F %T') $name: exit code $RESULT"
}

END
  echo 'RESULT=0'
  [ -z "$preflight" ] || echo 'step preflight jaxtag preflight'
  cat <<'END'
[ "$RESULT" != 0 ] || step run "${command[@]}"
again "$RESULT" || exit "$RESULT"
if [ -n "$told" ]; then
  echo "cancelled, or out of time; submitted again, the run goes on from its last checkpoint"
  exit "$RESULT"
fi

# Requeue, unless it did so --restarts times without a new checkpoint.
tries=0 before=
[ ! -f "$logs/tries" ] || { read -r tries && IFS= read -r before; } <"$logs/tries"
now=$(progress "$folder")
[ "$now" = "$before" ] || tries=0
tries=$((tries + 1))
printf '%s\n' "$tries" "$now" >"$logs/tries"
if [ "$tries" -gt "$restarts" ]; then
  echo "requeued $restarts times without a new checkpoint; $logs says why"
  exit "$RESULT"
fi
echo "requeueing, $tries of at most $restarts times without a new checkpoint"
scontrol requeue "$SLURM_JOB_ID"
exit "$RESULT"
END
}

script=$logs/$job.sbatch
if [ -n "$dry_run" ]; then
  printf '%s\n' "$(quoted cat) >$(quoted "$script") <<'END'"
  batch "$@"
  printf 'END\n'
  run sbatch --parsable "$script"
  exit 0
fi
mkdir -p "$logs" || fail "--logs: cannot make '$logs'"
batch "$@" >"$script"
id=$(sbatch --parsable "$script") || exit 1
id=${id%%;*}
say "job $id: squeue --job $id, its log is $logs/job-$id.log, its processes' logs are $logs/$id/run-*.log"
printf '%s\n' "$id"
