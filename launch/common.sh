# shellcheck shell=bash
# What the launchers share: messages, checks of options, dry runs, XLA flag files, and what an exit code means.
# Sourced by them, never run.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# fail MESSAGE: the user's mistake in one line, exit code 2.
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

# say MESSAGE: what the launcher itself does, on standard error.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# quoted WORD...: the words as one line of shell.
quoted() {
  local line
  printf -v line '%q ' "$@"
  printf '%s' "${line% }"
}

# run WORD...: run a command, or print it in a dry run.
run() {
  if [ -n "${dry_run:-}" ]; then
    quoted "$@"
    printf '\n'
  else
    "$@"
  fi
}

# need TOOL: the tool is installed, or it is a dry run.
need() {
  [ -n "${dry_run:-}" ] || command -v "$1" >/dev/null || fail "$1 is not installed; --dry-run shows what would be run"
}

# value OPTION COUNT: an option that takes a value has one.
value() { [ "$2" -ge 2 ] || fail "$1 needs a value; see --help"; }

# whole OPTION VALUE LEAST: VALUE is a whole number of at least LEAST.
whole() {
  if ! [[ $2 =~ ^(0|[1-9][0-9]{0,8})$ ]] || (($2 < $3)); then fail "$1 needs a whole number of at least $3, not '$2'"; fi
}

# plain OPTION VALUE: VALUE has no blanks, quotes or signs that a scheduler would read otherwise.
plain() {
  [[ $2 =~ ^[A-Za-z0-9_.,:=+@/%-]+$ ]] || fail "$1 takes letters, digits and _.,:=+@/%- alone, not '$2'"
}

# assignment OPTION VALUE: VALUE is NAME=SOMETHING in one line.
assignment() {
  [[ $2 =~ ^[A-Za-z_][A-Za-z0-9_]*= && $2 != *$'\n'* ]] || fail "$1 needs NAME=VALUE, not '$2'"
}

# readable OPTION FILE
readable() { if ! [ -f "$2" ] || ! [ -r "$2" ]; then fail "$1: no readable file '$2'"; fi; }

# command_given COUNT: something follows the --.
command_given() { [ "$1" -ge 1 ] || fail "no command; write it after --, as in: ${0##*/} ... -- jaxtag preflight"; }

# flags NAME_OR_FILE: sets FLAGS to the flags of launch/xla_flags/NAME.txt or of a file, FLAGS_VARIABLE to the
# variable that carries them: libtpu reads its own from LIBTPU_INIT_ARGS, everything else XLA_FLAGS.
flags() {
  local file=$1 line number=0
  [[ $file == */* || $file == *.txt ]] || file=$HERE/xla_flags/$1.txt
  [ -f "$file" ] || fail "--xla-flags: no file '$file'; there are: $(cd "$HERE/xla_flags" && echo *.txt | sed 's/\.txt//g')"
  FLAGS=
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%%#*}
    line=${line%"${line##*[![:space:]]}"}
    [ -n "$line" ] || continue
    [[ $line =~ ^--[a-zA-Z0-9_]+=[A-Za-z0-9_.,+/-]*$ ]] || fail "--xla-flags: $file, line $number is not --flag=value: $line"
    FLAGS+="${FLAGS:+ }$line"
  done <"$file"
  [ -n "$FLAGS" ] || fail "--xla-flags: $file has no flags"
  FLAGS_VARIABLE=XLA_FLAGS
  # shellcheck disable=SC2034  # the launchers read it
  [[ ${file##*/} != tpu_* ]] || FLAGS_VARIABLE=LIBTPU_INIT_ARGS
}

# folder_of WORD...: what the command writes to, the value of its --run or --out; nothing where it has neither.
folder_of() {
  local word before=""
  for word in "$@"; do
    case $before in --run | --out) printf '%s' "$word" && return ;; esac
    case $word in --run=* | --out=*) printf '%s' "${word#*=}" && return ;; esac
    before=$word
  done
}

# progress FOLDER: which checkpoints lie in or under it. Another answer later means that the run has moved.
progress() {
  [ -d "${1:-}" ] || return 0
  find "$1" -path '*/checkpoints/[0-9]*' -prune -print 2>/dev/null | grep -E '/checkpoints/[0-9]+$' | sort | cksum || true
}

# cause CODE...: the exit code of the run, from those of its processes that ended by themselves: 137 or 143 where one
# was killed from outside (the others then fail for want of it), else the first that is no save, else 75, else 0.
cause() {
  local code all=0
  for code in "$@"; do [[ $code != 137 && $code != 143 ]] || { echo "$code" && return; }; done
  for code in "$@"; do
    [[ $code == 0 || $code == 75 ]] || { echo "$code" && return; }
    [ "$code" = 0 ] || all=75
  done
  echo "$all"
}

# again CODE: whether a run that ended so is to be started again: saved, or killed from outside.
again() { [[ $1 == 75 || $1 == 137 || $1 == 143 ]]; }
