#!/usr/bin/env bash
# A jaxtag command on the hosts of a Cloud TPU slice, made through a queued resource.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'END'
usage: launch/tpu_vm.sh --name NAME --type TYPE --zone ZONE [options] -- COMMAND...

Asks for a TPU slice (gcloud compute tpus queued-resources), waits until it is there, copies this checkout to every host
and installs it, runs `jaxtag preflight` and then COMMAND on all hosts, and deletes the slice. Exit code 75 (saved, or a
peer was lost) and killed processes are started again on the same slice; a preempted slice is deleted, asked for again
and the run goes on. It goes on, too, when the connection or this script is lost (not when the script is ended by a
signal): the same command looks after it again. What host 0 writes appears on the terminal, every host's log is fetched
to LOGS/HOST.log. The run folder and the dataset lie where every host sees them: --setup mounts that. Run
`ssh-add ~/.ssh/google_compute_engine` first.

  --name NAME                of the queued resource and of its node
  --type TYPE                v5litepod-16 (or v5e-16), v5p-256, v6e-256, v4-32 ...
  --zone ZONE
  --project PROJECT          (default: gcloud's)
  --runtime-version NAME     (default: v2-alpha-tpuv5-lite, v2-alpha-tpuv5, v2-alpha-tpuv6e, tpu-ubuntu2204-base by type)
  --spot | --reserved        (default: on demand)
  --valid-until DURATION     ask no longer than this, as in 6h
  --network, --subnetwork, --service-account NAME
  --setup FILE               shell file that every host sources before it installs and before it runs: mounts, variables
  --xla-flags NAME|FILE      launch/xla_flags/NAME.txt, or a file like it
  --env NAME=VALUE           for COMMAND; may be given more than once
  --restarts N               starts again at most so often without a new checkpoint in --run or --out of COMMAND (default 3)
  --grace SECONDS            that the other hosts have to end after the first (default 120)
  --poll SECONDS             between two looks (default 30)
  --no-preflight
  --keep                     do not delete the slice at the end
  --logs DIR                 (default: runs/logs/NAME)
  --dry-run                  print the commands, run nothing
  -h, --help

examples:
  launch/tpu_vm.sh --name tags --type v5litepod-16 --zone us-west4-a --spot --setup mounts.sh -- jaxtag train zsl/cnn --data /mnt/data --run /mnt/run
  launch/tpu_vm.sh --name tags --type v6e-256 --zone us-east5-b --project mine --xla-flags tpu_v6e -- jaxtag train hmemn2n/hmemn2n --data /mnt/data --run /mnt/run
  launch/tpu_vm.sh --name look --type v5p-8 --zone us-east5-a --keep -- jaxtag preflight
END
}

name='' type='' zone='' project='' runtime='' setup='' xla='' restarts=3 grace=120 poll=30 preflight=yes keep='' logs='' dry_run=''
asked=() environment=()
while [ $# -gt 0 ]; do
  case $1 in --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
  case $1 in
    --name | --type | --zone | --project | --runtime-version | --valid-until | --network | --subnetwork | --service-account | \
      --setup | --xla-flags | --env | --restarts | --grace | --poll | --logs)
      value "$1" $#
      case $1 in
        --name) name=$2 ;;
        --type) type=$2 ;;
        --zone) plain "$1" "$2" && zone=$2 ;;
        --project) plain "$1" "$2" && project=$2 ;;
        --runtime-version) plain "$1" "$2" && runtime=$2 ;;
        --valid-until) plain "$1" "$2" && asked+=("--valid-until-duration=$2") ;;
        --network | --subnetwork | --service-account) plain "$1" "$2" && asked+=("$1=$2") ;;
        --setup) readable "$1" "$2" && setup=$2 ;;
        --xla-flags) xla=$2 ;;
        --env) assignment "$1" "$2" && environment+=("$2") ;;
        --restarts) whole "$1" "$2" 0 && restarts=$2 ;;
        --grace) whole "$1" "$2" 1 && grace=$2 ;;
        --poll) whole "$1" "$2" 0 && poll=$2 ;;
        --logs) logs=$2 ;;
      esac
      shift 2
      ;;
    --spot | --reserved) asked+=("$1") && shift ;;
    --no-preflight) preflight='' && shift ;;
    --keep) keep=yes && shift ;;
    --dry-run) dry_run=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see --help, and write -- before the command" ;;
  esac
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] || fail "--name needs lower-case letters, digits and -, a letter first, not '$name'"
[ -n "$zone" ] || fail "which zone? Give --zone; see --help"
command_given $#
type=${type/#v5e-/v5litepod-}
[[ $type =~ ^(v[234]|v5litepod|v5p|v6e)-[1-9][0-9]*$ ]] || fail "--type is one like v5litepod-16, v5p-256 or v6e-256, not '$type'"
case $type in
  v5litepod-*) runtime=${runtime:-v2-alpha-tpuv5-lite} ;;
  v5p-*) runtime=${runtime:-v2-alpha-tpuv5} ;;
  v6e-*) runtime=${runtime:-v2-alpha-tpuv6e} ;;
  *) runtime=${runtime:-tpu-ubuntu2204-base} ;;
esac
[ -z "$xla" ] || { flags "$xla" && environment+=("$FLAGS_VARIABLE=$FLAGS"); }
logs=${logs:-runs/logs/$name}
where=("--zone=$zone" ${project:+"--project=$project"})
resources=(gcloud compute tpus queued-resources)
vm=(gcloud compute tpus tpu-vm)
pack=(tar --null --ignore-failed-read '--transform=s,^,source/,')
need gcloud

# worker COMMAND...: the script that every host runs.
worker() {
  cat <<'END'
#!/usr/bin/env bash
# Written by launch/tpu_vm.sh.
cd ~/jaxtag-job || exit 2
export PATH=$HOME/jaxtag-job/venv/bin:$HOME/.local/bin:$PATH
END
  [ -z "$setup" ] || echo 'source ./setup.sh || exit 2'
  [ "${#environment[@]}" = 0 ] || echo "export $(quoted "${environment[@]}")"
  printf 'folder=%q\n' "$(folder_of "$@")"
  printf 'run=(%s)\npreflight=(jaxtag preflight)\n' "$(quoted "$@")"
  declare -f progress
  cat <<'END'
metadata() { curl -fsS -H 'Metadata-Flavor: Google' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"; }
# Which host of how many this is; libtpu finds that out by itself.
place() {
  local listed first
  listed=$(metadata worker-network-endpoints) && JAXTAG_PROCESS=$(metadata agent-worker-number) || exit 1
  IFS=, read -ra listed <<<"$listed"
  IFS=: read -ra first <<<"${listed[0]}"
  first=("${first[2]:-${first[0]}}") # ADDRESS, or NAME:PORT:ADDRESS
  [ "${#listed[@]}" -lt 2 ] || export JAXTAG_COORDINATOR="${first[0]}:8476" JAXTAG_PROCESSES="${#listed[@]}" JAXTAG_PROCESS
}
alive() { [ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null; }
case $1 in
  install)
    python3 -m pip install --quiet --user uv && uv venv --quiet --clear --python 3.12 venv &&
      uv pip install --quiet --python venv/bin/python "./source[tpu]"
    ;;
  start) # once, however often it is asked: a lost connection is tried again
    [ "$(cat started 2>/dev/null)" != "$2 $3" ] || exit 0
    place
    rm -f ended
    echo "$2 $3" >started
    printf '==== start %s of %s\n' "$3" "$2" >>log
    if [ "$2" = run ]; then command=("${run[@]}"); else command=("${preflight[@]}"); fi
    (
      setsid "${command[@]}" >>log 2>&1 </dev/null &
      echo "$!" >pid
      wait "$!"
      echo "$?" >ended
    ) >/dev/null 2>&1 </dev/null &
    ;;
  look) # whether the step goes on
    if [ "$(cut -d ' ' -f 1 started)" != "$2" ]; then exit; fi
    if [ -s ended ]; then echo "ended $(cat ended)"; elif alive; then echo running; else echo "ended 137"; fi
    ;;
  progress) progress "$folder" ;;
  save) if alive; then kill -TERM "$(cat pid)"; fi ;;
  kill) if alive; then kill -KILL -- "-$(cat pid)"; fi ;;
  log) if [ -n "${2:-}" ]; then tail -c "+$2" log; else cat log; fi ;;
esac
END
}

on() { run "${vm[@]}" ssh "$name" "${where[@]}" "--worker=$1" "--command=$2" "${@:3}"; }
everywhere() { on all "bash ~/jaxtag-job/worker.sh $1" "${@:2}"; }
state() { "${resources[@]}" describe "$name" "${where[@]}" '--format=value(state.state)' 2>/dev/null || echo NONE; }
delete() { run "${resources[@]}" delete "$name" "${where[@]}" --force --quiet; }

create() {
  run "${resources[@]}" create "$name" "${where[@]}" "--node-id=$name" "--accelerator-type=$type" \
    "--runtime-version=$runtime" "${asked[@]}" --quiet
}

# await: until the slice is there; asks for it where nobody has, and again where it was taken away.
await() {
  local now last=''
  while :; do
    now=$(state)
    [ "$now" = "$last" ] || say "$name: $now"
    last=$now
    case $now in
      ACTIVE) return ;;
      NONE) create ;;
      SUSPENDED | SUSPENDING) delete || true ;;
      FAILED) say "the request failed: $(quoted "${resources[@]}" describe "$name" "${where[@]}")" && exit 1 ;;
    esac
    sleep "$poll"
  done
}

# install COMMAND...: this checkout as it lies here, without what git ignores, and the script, on every host.
install() {
  local root job=$logs/job
  root=$(cd "$HERE/.." && pwd)
  if [ -n "$dry_run" ]; then
    echo "git -C $(quoted "$root") ls-files -z --cached --others --exclude-standard | $(quoted "${pack[@]}" -cf "$job.tar" -C "$root" -T -)"
    echo "cat >$(quoted "$job/worker.sh") <<'END'" && worker "$@" && echo END
  else
    mkdir -p "$job" && worker "$@" >"$job/worker.sh"
    git -C "$root" ls-files -z --cached --others --exclude-standard | "${pack[@]}" -cf "$job.tar" -C "$root" -T - || return 1
  fi
  [ -z "$setup" ] || run cp "$setup" "$job/setup.sh"
  run tar -C "$job" -rf "$job.tar" worker.sh ${setup:+setup.sh} &&
    run "${vm[@]}" scp "$job.tar" "$name:job.tar" "${where[@]}" --worker=all &&
    on all 'mkdir -p ~/jaxtag-job && rm -rf ~/jaxtag-job/source && tar -C ~/jaxtag-job -xf ~/job.tar' &&
    everywhere install
}

fetch() { everywhere log "--output-directory=$logs" >/dev/null 2>&1 || say "the hosts' logs could not be fetched"; }

# follow: what host 0 has written since the last look.
follow() {
  local new=$logs/.new
  on 0 "bash ~/jaxtag-job/worker.sh log $((seen + 1))" >"$new" 2>/dev/null || return 0
  seen=$((seen + $(wc -c <"$new")))
  cat "$new"
}

# watch STEP [going]: start STEP (preflight or run) everywhere, unless it is going, and look after it. Sets RESULT to its exit code, to lost where
# the slice is gone.
watch() {
  local missed=0 looks codes ended_at='' told=''
  [ -n "${2:-}" ] || everywhere "start $1 $(date +%s)" || missed=1
  while :; do
    sleep "$poll"
    RESULT=lost
    [ "$(state)" = ACTIVE ] || return 0
    follow
    looks=$(everywhere "look $1" 2>/dev/null | grep -E '^(running|ended [0-9]+)$') || { missed=$((missed + 1)) && looks=''; }
    [ "$missed" -lt 5 ] || return 0
    [ -n "$looks" ] || continue
    missed=0 silent=0
    mapfile -t codes < <(sed -n 's/^ended //p' <<<"$looks")
    if ! grep -q '^running$' <<<"$looks"; then
      RESULT=$(cause "${codes[@]}")
      follow
      return 0
    fi
    [[ " ${codes[*]} " == *' '[1-9]* ]] || continue
    ended_at=${ended_at:-$SECONDS} # one has failed: the others have --grace seconds, and as many after being told
    if [ $((SECONDS - ended_at)) -ge $((2 * grace)) ]; then
      everywhere kill || true
    elif [ $((SECONDS - ended_at)) -ge "$grace" ] && [ -z "$told" ]; then
      told=yes
      everywhere save || true
    fi
  done
}

if [ -n "$dry_run" ]; then
  create && run "${resources[@]}" describe "$name" "${where[@]}" '--format=value(state.state)'
  install "$@"
  [ -z "$preflight" ] || { everywhere 'start preflight 1' && everywhere 'look preflight'; }
  everywhere 'start run 2' && everywhere 'look run' && on 0 'bash ~/jaxtag-job/worker.sh log 1'
  everywhere log "--output-directory=$logs"
  [ -n "$keep" ] || delete
  exit 0
fi

mkdir -p "$logs" || fail "--logs: cannot make '$logs'"
finish() {
  local code=$?
  trap '' INT TERM
  [ "$(state)" != ACTIVE ] || fetch
  if [ -z "$keep" ] && [ "$(state)" != NONE ]; then delete || say "NOT DELETED: $(quoted "${resources[@]}" delete "$name" "${where[@]}" --force)"; fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'trap - EXIT; exit 129' HUP # the terminal is gone: the run goes on
tries=0 before='' seen=0 ready='' going='' silent=0
if [ "$(state)" = ACTIVE ] && everywhere 'look run' 2>/dev/null | grep -q '^running$'; then
  say "the run is going on; looking after it"
  ready=yes going=yes
fi
while :; do
  await
  if [ -z "$ready" ]; then
    seen=0
    install "$@" || { say "installing failed; see above" && exit 1; }
    ready=yes
  fi
  RESULT=0
  [ -z "$preflight" ] || [ -n "$going" ] || watch preflight
  [ "$RESULT" != 0 ] || watch run $going
  going=''
  if [ "$RESULT" = lost ]; then
    ready='' now=$(state)
    if [ "$now" = ACTIVE ]; then silent=$((silent + 1)); fi
    [ "$silent" -lt 3 ] || { say "three slices did not answer; $logs says what they wrote before" && exit 1; }
    say "the slice was taken away or does not answer; asking for it again"
    [ "$now" = NONE ] || delete || true
    continue
  fi
  again "$RESULT" || exit "$RESULT"
  after=$(on 0 'bash ~/jaxtag-job/worker.sh progress' 2>/dev/null || true)
  if [ "$after" = "$before" ]; then tries=$((tries + 1)); else tries=1; fi
  before=$after
  [ "$tries" -le "$restarts" ] || { say "started $restarts times again without a new checkpoint" && exit "$RESULT"; }
  say "exit code $RESULT: starting again, $tries of at most $restarts times without a new checkpoint"
done
