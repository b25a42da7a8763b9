#!/usr/bin/env bash
# A jaxtag command on Kubernetes: a JobSet on GPU or TPU nodes of GKE.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'END'
usage: launch/gke.sh --name NAME --image IMAGE (--tpu TYPE | --gpu KIND --nodes N) (--pvc CLAIM | --bucket NAME)
                     [options] -- COMMAND...

Fills launch/gke/jobset.yaml, applies it with kubectl and follows it: one pod a host, the completion index is the
process, pod 0 the coordinator. Exit code 75 (saved, or a peer was lost), evictions and killed pods restart the whole
JobSet; exit codes 1 and 2 end it. What process 0 writes appears on the terminal, every process's log is LOGS/PROCESS.log.
Ending this script leaves the JobSet running; the same command follows it again. The cluster needs the JobSet controller
(0.6 or newer), node pools of the asked kind, and an image that has jaxtag on its PATH (launch/gke/Dockerfile).
One TPU slice is one JobSet. GPU pods talk over the pods' own network: GPUDirect networking is not set up.

  --name NAME                of the JobSet
  --image IMAGE
  --tpu TYPE                 v5litepod-16 (or v5e-16, v5e:4x4), v5p-256 (v5p:4x4x8), v6e-256 (v6e:16x16)
  --gpu KIND                 h100 (a3-highgpu), h100-mega (a3-megagpu), h200 (a3-ultragpu), or a value of the node label
                             cloud.google.com/gke-accelerator
  --nodes N                  with --gpu
  --gpus-per-node G          with --gpu (default 8)
  --chips-per-node C         with --tpu (default 4; 8 for a 2x4 slice, all of a smaller one)
  --pvc CLAIM                a claim that many pods may write to, for data and runs
  --bucket NAME              or a bucket through Cloud Storage FUSE; with a hierarchical namespace, as runs rename folders
  --mount PATH               of either in the pods (default /data)
  --cpu N, --memory SIZE     asked for by each pod, as Kubernetes writes them
  --spot                     spot nodes
  --service-account NAME     of Kubernetes; a bucket needs one that may use it
  --namespace NAME           (default: default)
  --env NAME=VALUE           for COMMAND; may be given more than once
  --xla-flags NAME|FILE      launch/xla_flags/NAME.txt, or a file like it
  --restarts N               of the JobSet at most (default 100)
  --grace SECONDS            a pod has to save (default 120; spot nodes may give less)
  --ttl SECONDS              that the finished JobSet is kept (default 86400)
  --poll SECONDS             (default 15)
  --replace                  delete a finished JobSet of this name first
  --logs DIR                 (default: runs/logs/NAME)
  --dry-run                  print the manifest and the commands, run nothing
  -h, --help

examples:
  launch/gke.sh --name tags --image IMAGE --tpu v5litepod-16 --spot --pvc shared -- jaxtag train zsl/cnn --data /data/posts --run /data/run
  launch/gke.sh --name tags --image IMAGE --tpu v6e:16x16 --pvc shared --xla-flags tpu_v6e -- jaxtag train hmemn2n/hmemn2n --data /data/posts --run /data/run
  launch/gke.sh --name tags --image IMAGE --gpu h200 --nodes 8 --bucket my-bucket --service-account trainer --xla-flags gpu_h200 -- jaxtag train zsl/cnn --data /data/posts --run /data/run
  launch/gke.sh --name look --image IMAGE --gpu h100 --nodes 2 --pvc shared -- jaxtag preflight
END
}

name='' image='' tpu='' gpu='' nodes='' gpus=8 chips='' pvc='' bucket='' mount=/data cpu='' memory='' spot='' account=''
namespace=default xla='' restarts=100 grace=120 ttl=86400 poll=15 replace='' logs='' dry_run='' port=8476 start=1800 environment=()
while [ $# -gt 0 ]; do
  case $1 in --?*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;; esac
  case $1 in
    --name | --image | --tpu | --gpu | --nodes | --gpus-per-node | --chips-per-node | --pvc | --bucket | --mount | --cpu | --memory | \
      --service-account | --namespace | --env | --xla-flags | --restarts | --grace | --ttl | --poll | --logs)
      value "$1" $#
      case $1 in
        --nodes) whole "$1" "$2" 1 && nodes=$2 ;;
        --gpus-per-node) whole "$1" "$2" 1 && gpus=$2 ;;
        --chips-per-node) whole "$1" "$2" 1 && chips=$2 ;;
        --restarts) whole "$1" "$2" 0 && restarts=$2 ;;
        --grace) whole "$1" "$2" 1 && grace=$2 ;;
        --ttl) whole "$1" "$2" 0 && ttl=$2 ;;
        --poll) whole "$1" "$2" 0 && poll=$2 ;;
        --env) assignment "$1" "$2" && environment+=("$2") ;;
        --xla-flags) xla=$2 ;;
        --logs) logs=$2 ;;
        --name) name=$2 ;;
        *)
          plain "$1" "$2"
          case $1 in
            --image) image=$2 ;;
            --tpu) tpu=$2 ;;
            --gpu) gpu=$2 ;;
            --pvc) pvc=$2 ;;
            --bucket) bucket=$2 ;;
            --mount) mount=$2 ;;
            --cpu) cpu=$2 ;;
            --memory) memory=$2 ;;
            --service-account) account=$2 ;;
            --namespace) namespace=$2 ;;
          esac
          ;;
      esac
      shift 2
      ;;
    --spot) spot=yes && shift ;;
    --replace) replace=yes && shift ;;
    --dry-run) dry_run=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1'; see --help, and write -- before the command" ;;
  esac
done
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || fail "--name needs up to 40 lower-case letters, digits and -, a letter first, not '$name'"
[ -n "$image" ] || fail "which image? Give --image; see --help"
command_given $#
[ -n "$tpu" ] && [ -n "$gpu" ] && fail "--tpu and --gpu exclude each other"
[ -n "$tpu$gpu" ] || fail "which accelerator? Give --tpu or --gpu; see --help"
[ -n "$pvc" ] && [ -n "$bucket" ] && fail "--pvc and --bucket exclude each other"
[ -n "$pvc$bucket" ] || fail "data and runs need a place that every pod sees: give --pvc or --bucket"
[[ $mount == /?* ]] || fail "--mount needs a path from /, not '$mount'"
[ -z "$xla" ] || { flags "$xla" && environment+=("$FLAGS_VARIABLE=$FLAGS"); }
logs=${logs:-runs/logs/$name}
need kubectl

# slice TYPE: sets KIND, TOPOLOGY, chips and nodes of a TPU slice, from v5e:4x4 or from Cloud TPU's own names, which count
# chips (v5e, v6e) or cores, two a chip (v5p).
slice() {
  local family=${1%%[:-]*} size=${1#*[:-]} count=1 side
  local -A flat=([1]=1x1 [4]=2x2 [8]=2x4 [16]=4x4 [32]=4x8 [64]=8x8 [128]=8x16 [256]=16x16)
  local -A deep=([8]=2x2x1 [16]=2x2x2 [32]=2x2x4 [64]=2x4x4 [128]=4x4x4 [256]=4x4x8 [512]=4x8x8 [1024]=8x8x8 [2048]=8x8x16)
  case $family in
    v5e | v5litepod) KIND='tpu-v5-lite-podslice' ;;
    v6e) KIND='tpu-v6e-slice' ;;
    v5p) KIND='tpu-v5p-slice' ;;
    *) fail "--tpu knows v5litepod (v5e), v5p and v6e, not '$1'" ;;
  esac
  if [[ $1 == *:* ]]; then
    TOPOLOGY=$size
  elif [ "$family" = v5p ]; then
    TOPOLOGY=${deep[$size]:-}
  else
    TOPOLOGY=${flat[$size]:-}
  fi
  if [ "$family" = v5p ]; then
    [[ $TOPOLOGY =~ ^[1-9][0-9]?x[1-9][0-9]?x[1-9][0-9]?$ ]] || fail "--tpu $1: no such slice; v5p:4x4x8 or v5p-256 is one"
  else
    [[ " ${flat[*]} " == *" $TOPOLOGY "* && -n $TOPOLOGY ]] || fail "--tpu $1: no such slice; there are ${flat[*]}"
  fi
  for side in ${TOPOLOGY//x/ }; do count=$((count * side)); done
  if [ -z "$chips" ]; then
    chips=4
    if [ "$TOPOLOGY" = 2x4 ]; then chips=8; elif [ "$count" -lt 4 ]; then chips=$count; fi
  fi
  ((count % chips == 0)) || fail "--chips-per-node $chips does not divide the $count chips of $TOPOLOGY"
  nodes=$((count / chips))
}

# json WORD: the word as a JSON string, which YAML reads as it is; without @, which marks what is filled in.
json() {
  local word=$1
  word=${word//\\/\\\\}
  word=${word//\"/\\\"}
  word=${word//$'\n'/\\n}
  word=${word//$'\t'/\\t}
  word=${word//@/\\u0040}
  [[ $word != *[[:cntrl:]]* ]] || fail "a word of the command or a value holds a control character: $(quoted "$1")"
  printf '"%s"' "$word"
}

# lines BLANKS LINE...: the lines, indented.
lines() {
  local blanks line
  printf -v blanks '%*s' "$1" ''
  for line in "${@:2}"; do printf '%s%s\n' "$blanks" "$line"; done
}

# manifest COMMAND...: the JobSet. Kubernetes would expand $(NAME) in a command and in a variable: $ is doubled.
manifest() {
  local text command='' word selectors tolerations ports='' resources annotations='' pod_annotations='' volume variables=()
  if [ -n "$tpu" ]; then
    selectors=("cloud.google.com/gke-tpu-accelerator: $KIND" "cloud.google.com/gke-tpu-topology: $TOPOLOGY")
    resources=("google.com/tpu: $chips") tolerations=('- key: google.com/tpu')
    ports=$(lines 20 '- containerPort: 8471')
    # A slice is one node pool, and takes one Job.
    annotations=$(lines 2 'annotations:' '  alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool')
  else
    selectors=("cloud.google.com/gke-accelerator: $gpu")
    resources=("nvidia.com/gpu: $gpus") tolerations=('- key: nvidia.com/gpu')
  fi
  tolerations+=('  operator: Exists' '  effect: NoSchedule')
  if [ -n "$spot" ]; then
    selectors+=('cloud.google.com/gke-spot: "true"')
    tolerations+=('- key: cloud.google.com/gke-spot' '  operator: Equal' '  value: "true"' '  effect: NoSchedule')
  fi
  [ -z "$cpu" ] || resources+=("cpu: $(json "$cpu")")
  [ -z "$memory" ] || resources+=("memory: $(json "$memory")")
  if [ -n "$pvc" ]; then
    volume=$(lines 18 'persistentVolumeClaim:' "  claimName: $pvc")
  else
    volume=$(lines 18 'csi:' '  driver: gcsfuse.csi.storage.gke.io' '  volumeAttributes:' "    bucketName: $bucket" '    mountOptions: implicit-dirs')
    pod_annotations=$(lines 14 'annotations:' '  gke-gcsfuse/volumes: "true"')
  fi
  for word in "$@"; do command+="${command:+, }$(json "${word//\$/\$\$}")"; done
  for word in "${environment[@]}"; do
    variables+=("- name: ${word%%=*}")
    word=${word#*=}
    variables+=("  value: $(json "${word//\$/\$\$}")")
  done
  text=$(<"$HERE/gke/jobset.yaml")
  fill ANNOTATIONS "$annotations" POD_ANNOTATIONS "$pod_annotations" NODES "$(lines 16 "${selectors[@]}")" \
    TOLERATIONS "$(lines 16 "${tolerations[@]}")" PORTS "$ports" RESOURCES "$(lines 22 "${resources[@]}")" VOLUME "$volume" \
    SERVICE_ACCOUNT "${account:+$(lines 14 "serviceAccountName: $account")}" ENVIRONMENT "$(lines 20 "${variables[@]}")" \
    NAMESPACE "$namespace" NAME "$name" HOSTS "$nodes" PORT "$port" START "$start" GRACE "$grace" TTL "$ttl" \
    RESTARTS "$restarts" MOUNT "$mount" IMAGE "$image" COMMAND "[$command]"
  grep -Ev '^( *#.*)?$' <<<"$text"
}

# fill MARK VALUE ...: put the values in the place of the marks of $text.
fill() {
  while [ $# -gt 0 ]; do
    text=${text//"@$1@"/"$2"}
    shift 2
  done
}

on() { run kubectl "--namespace=$namespace" "$@"; }
pods=(--selector "jobset.sigs.k8s.io/jobset-name=$name")
following=(logs --follow --prefix "${pods[@]}" --container jaxtag --tail=-1 --max-log-requests)
state() { on get jobset "$name" --ignore-not-found "$@"; }

# started: how many pods have begun.
started() { on get pods "${pods[@]}" --field-selector 'status.phase!=Pending' --output name | wc -l; }

# follow: the logs of all pods, from $since, each to its file, process 0's to the terminal too, until they end.
follow() {
  local line
  while IFS= read -r line; do
    [[ $line =~ ^\[pod/$name-run-0-([0-9]+)-[a-z0-9]+/jaxtag\]\ ?(.*)$ ]] || continue
    printf '%s\n' "${BASH_REMATCH[2]}" >>"$logs/${BASH_REMATCH[1]}.log"
    [ "${BASH_REMATCH[1]}" != 0 ] || printf '%s\n' "${BASH_REMATCH[2]}"
  done < <(on "${following[@]}" "$nodes" ${since:+"--since-time=$since"} 2>/dev/null)
}

[ -z "$tpu" ] || slice "$tpu"
case $gpu in h100) gpu=nvidia-h100-80gb ;; h100-mega) gpu=nvidia-h100-mega-80gb ;; h200) gpu=nvidia-h200-141gb ;; esac
[ -n "$nodes" ] || fail "--gpu needs --nodes"
if [ -n "$dry_run" ]; then
  [ -z "$replace" ] || on delete jobset "$name" --wait
  printf '%s\n' "kubectl --namespace=$namespace apply --filename - <<'END'"
  manifest "$@"
  printf 'END\n'
  on "${following[@]}" "$nodes"
  state --output 'jsonpath={.status.terminalState}'
  exit 0
fi
mkdir -p "$logs" || fail "--logs: cannot make '$logs'"
ended=$(state --output 'jsonpath={.status.terminalState}')
if [ -n "$ended" ]; then
  [ -n "$replace" ] || fail "JobSet $name has ended ($ended); --replace deletes it first"
  on delete jobset "$name" --wait >&2
fi
manifest "$@" >"$logs/jobset.yaml"
on apply --filename "$logs/jobset.yaml" >&2
say "following; to end the run: kubectl --namespace=$namespace delete jobset $name"
since='' ended=''
while [ -z "$ended" ]; do
  if [ "$(started)" -ge "$nodes" ]; then # logs are followed of those pods alone that are there
    follow
    since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  fi
  ended=$(state --output 'jsonpath={.status.terminalState}') || ended=''
  [ -n "$ended" ] || sleep "$poll"
done
follow
say "JobSet $name: $ended"
[ "$ended" != Completed ] || exit 0
codes=$(on get pods "${pods[@]}" --output 'jsonpath={range .items[*]}{.status.containerStatuses[*].state.terminated.exitCode}{" "}{end}' || true)
read -ra codes <<<"$codes"
code=$(cause "${codes[@]}")
exit $((code == 0 ? 1 : code))
