#!/usr/bin/env bash
# Several processes of one jaxtag command on one machine.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'END'
usage: launch/local.sh -n PROCESSES [options] -- COMMAND...

Runs COMMAND in several processes on this machine, which find each other by JAXTAG_COORDINATOR, JAXTAG_PROCESSES and
JAXTAG_PROCESS. Process 0 writes to the terminal, every process to its own log. When one fails, the others are told to
save and end, and killed after --grace seconds. Exit code 75 (saved, or a peer was lost) and processes killed from
outside are started again; any other exit code is the run's. SIGTERM and SIGINT go to every process; the run then ends.

  -n, --processes N            how many processes
  --devices-per-process D      devices of each: simulated ones on a CPU, GPUs i*D to i*D+D-1 on a GPU (all share all without)
  --platform cpu|gpu           (default: gpu where nvidia-smi lists one, else cpu)
  --port PORT                  of the coordinator (default: a free one)
  --restarts N                 starts again at most so often without a new checkpoint in --run or --out of COMMAND (default 3)
  --grace SECONDS              between being told to end and being killed (default 120)
  --logs DIR                   (default: runs/logs/local-TIME)
  --xla-flags NAME|FILE        launch/xla_flags/NAME.txt, or a file like it
  --env NAME=VALUE             for every process; may be given more than once
  --dry-run                    print the commands, run nothing
  -h, --help

examples:
  launch/local.sh -n 2 -- jaxtag preflight
  launch/local.sh -n 4 --devices-per-process 2 -- jaxtag train zsl/cnn --data DATA --run RUN --parallel.fsdp 2
  launch/local.sh -n 8 --devices-per-process 1 --platform gpu --xla-flags gpu_h100 -- jaxtag train zsl/cnn --data DATA --run RUN
END
}

processes='' devices='' platform='' port='' restarts=3 grace=120 logs='' dry_run='' xla='' environment=() FLAGS='' FLAGS_VARIABLE=''
while [ $# -gt 0 ]; do
  case $1 in --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
  case $1 in
    -n | --processes | --devices-per-process | --platform | --port | --restarts | --grace | --logs | --xla-flags | --env)
      value "$1" $#
      case $1 in
        -n | --processes) whole "$1" "$2" 1 && processes=$2 ;;
        --devices-per-process) whole "$1" "$2" 1 && devices=$2 ;;
        --platform) platform=$2 ;;
        --port) whole "$1" "$2" 1 && port=$2 ;;
        --restarts) whole "$1" "$2" 0 && restarts=$2 ;;
        --grace) whole "$1" "$2" 1 && grace=$2 ;;
        --logs) logs=$2 ;;
        --xla-flags) xla=$2 ;;
        --env) assignment "$1" "$2" && environment+=("$2") ;;
      esac
      shift 2
      ;;
    --dry-run) dry_run=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see --help, and write -- before the command" ;;
  esac
done
[ -n "$processes" ] || fail "how many processes? Give -n; see --help"
command_given $#
case $platform in '' | cpu | gpu) ;; *) fail "--platform is cpu or gpu, not '$platform'" ;; esac
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) || fail "needs bash 5.1 or newer, this is $BASH_VERSION"
if [ -z "$platform" ]; then
  platform=cpu
  if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then platform=gpu; fi
fi
[ -z "$xla" ] || { flags "$xla" && environment+=("$FLAGS_VARIABLE=$FLAGS"); }
[ -n "$logs" ] || logs=runs/logs/local-$(date +%Y%m%d-%H%M%S)

# free_port: one that nothing on this machine listens on.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# settings PROCESS PORT: sets SETTINGS to the environment of one process.
settings() {
  local first=$(($1 * ${devices:-0})) last list i given=$FLAGS
  SETTINGS=("JAXTAG_COORDINATOR=127.0.0.1:$2" "JAXTAG_PROCESSES=$processes" "JAXTAG_PROCESS=$1" "${environment[@]}")
  if [ "$platform" = cpu ]; then
    SETTINGS+=("JAX_PLATFORMS=cpu")
    [ "$FLAGS_VARIABLE" = XLA_FLAGS ] || given=${XLA_FLAGS:-}
    [ -z "$devices" ] || SETTINGS+=("XLA_FLAGS=${given:+$given }--xla_force_host_platform_device_count=$devices")
  elif [ -n "$devices" ]; then
    last=$((first + devices - 1)) list=$first
    for ((i = first + 1; i <= last; i++)); do list+=",$i"; done
    SETTINGS+=("CUDA_VISIBLE_DEVICES=$list")
  fi
}

if [ -n "$dry_run" ]; then
  for ((i = 0; i < processes; i++)); do
    settings "$i" "${port:-FREE_PORT}"
    printf '%s >>%s 2>&1 &\n' "$(quoted env "${SETTINGS[@]}" "$@")" "$(quoted "$logs/process-$i.log")"
  done
  exit 0
fi

mkdir -p "$logs" || fail "--logs: cannot make '$logs'"
set -m # every process leads a group of its own: a signal reaches its children, and Ctrl-C comes through us alone
declare -A running=() # process id -> which process
told='' timer=''

# signal NAME: send it to every process that still runs, with its children.
signal() {
  local pid
  for pid in "${!running[@]}"; do kill -s "$1" -- "-$pid" 2>/dev/null || true; done
}

# start_timer: ends --grace seconds from now, if no other runs.
start_timer() {
  if [ -z "$timer" ]; then
    sleep "$grace" &
    timer=$!
  fi
}

stop_timer() {
  [ -z "$timer" ] || { kill -- "-$timer" && wait "$timer"; } 2>/dev/null || true
  timer=''
}

relay() {
  told=$1
  say "SIG$1: told every process to save and end"
  signal "$1"
  start_timer
}
trap 'relay TERM' TERM HUP
trap 'relay INT' INT
trap 'signal KILL; stop_timer' EXIT

# writer FILE: appends standard input to a log and passes it on, deaf to the signals that end the run.
writer() { (trap '' TERM INT HUP && exec tee -a "$1"); }

# start COMMAND...: every process, process 0 last so that no other inherits what leads to the terminal.
start() {
  local i at=${port:-$(free_port)} log out err
  writers=()
  for ((i = processes - 1; i >= 0; i--)); do
    log=$logs/process-$i.log
    settings "$i" "$at"
    if [ "$i" -gt 0 ]; then
      env "${SETTINGS[@]}" "$@" >>"$log" 2>&1 </dev/null &
    else
      exec {out}> >(writer "$log") && writers+=($!)
      exec {err}> >(writer "$log" >&2) && writers+=($!)
      env "${SETTINGS[@]}" "$@" >&"$out" 2>&"$err" {out}>&- {err}>&- </dev/null &
      exec {out}>&- {err}>&-
    fi
    running[$!]=$i
  done
}

# attempt COMMAND...: one start of all, until all have ended. Sets RESULT to the run's exit code.
attempt() {
  local ended code stage=running codes=()
  start "$@"
  [ -z "$told" ] || signal "$told"
  while [ ${#running[@]} -gt 0 ]; do
    ended='' code=0
    wait -n -p ended "${!running[@]}" ${timer:+"$timer"} 2>/dev/null || code=$? # without the shell's own notices
    [ -n "${ended:-}" ] || continue # a signal came, and the trap has dealt with it
    if [ "$ended" = "$timer" ]; then
      timer=''
      if [ "$stage" = saving ]; then
        stage=ending
        signal TERM
        start_timer
      else
        say "still running $grace seconds after being told to end: killed"
        signal KILL
      fi
      continue
    fi
    [ "$stage" = ending ] && [ -z "$told" ] || codes+=("$code") # what we ended ourselves tells nothing
    [ "$code" = 0 ] || say "process ${running[$ended]} ended with exit code $code; its log is $logs/process-${running[$ended]}.log"
    unset "running[$ended]"
    [ ${#running[@]} -gt 0 ] && [ "$code" != 0 ] && [ "$stage" = running ] && [ -z "$told" ] || continue
    stage=saving # those that say 75 have saved; the others are given the time to
    [ "$code" = 75 ] || { stage=ending && signal TERM; }
    start_timer
  done
  stop_timer
  wait "${writers[@]}" 2>/dev/null || true
  RESULT=$(cause "${codes[@]}")
}

say "logs in $logs"
folder=$(folder_of "$@") tries=0 number=1
before=$(progress "$folder")
while :; do
  attempt "$@"
  [ "$RESULT" != 0 ] && [ -z "$told" ] && again "$RESULT" || exit "$RESULT"
  after=$(progress "$folder")
  if [ "$after" = "$before" ]; then tries=$((tries + 1)); else tries=1; fi
  before=$after number=$((number + 1))
  [ "$tries" -le "$restarts" ] || { say "started $restarts times again without a new checkpoint; the logs say why" && exit "$RESULT"; }
  say "exit code $RESULT: starting again, $tries of at most $restarts times without a new checkpoint"
  for ((i = 0; i < processes; i++)); do printf '==== start %d\n' "$number" >>"$logs/process-$i.log"; done
done
