# shellcheck shell=bash
# shellcheck disable=SC2034  # most is used by the tests that source this file
# What the tests of the command line share. Sourced by a test that CMake starts as
#   NAME_test.sh <mos> <folder of the project>
# in a scratch folder of its own, which is the working folder and gone at the end.
set -uo pipefail

mos=$1
project=$2
golden=$project/tests/golden/data
tiny_base=$golden/tiny_sd
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
mkdir input output

readonly exit_usage=2 exit_format=3 exit_mismatch=4 exit_device=5 exit_skipped=77
promises=0
broken=0

report_broken() {
  broken=$((broken + 1))
  printf 'BROKEN  %s\n' "$1"
  shift
  printf '        %s\n' "$@"
}

# run_mos ARGUMENT...: runs it; $status, $out and $err are what came of it.
run_mos() {
  status=0
  out=$("$mos" "$@" 2>"$scratch/stderr" </dev/null) || status=$?
  err=$(cat "$scratch/stderr")
}

# refuses PROMISE STATUS PATTERN ARGUMENT...: `mos ARGUMENT...` ends with STATUS, its last word is
# one line "mos: …" that matches PATTERN (extended, any case), and output/ stays as it was.
refuses() {
  local promise=$1 wanted=$2 pattern=$3 before after last
  shift 3
  promises=$((promises + 1))
  before=$(find output | sort)
  run_mos "$@"
  after=$(find output | sort)
  last=$(tail -n 1 "$scratch/stderr")
  if [ "$status" -ne "$wanted" ]; then
    report_broken "$promise" "mos $*" "exit status $status instead of $wanted: $err"
  elif [[ $last != "mos: "* ]] || [ "$(grep -c '^mos: ' "$scratch/stderr")" -ne 1 ]; then
    report_broken "$promise" "mos $*" "not one clear line: $err"
  elif ! grep -qiE -- "$pattern" <<<"$last"; then
    report_broken "$promise" "mos $*" "the line does not match '$pattern': $last"
  elif [ "$before" != "$after" ]; then
    report_broken "$promise" "mos $*" "left files behind:" "$(diff <(echo "$before") <(echo "$after"))"
  else
    printf 'kept    %s\n' "$promise"
  fi
}

# accepts PROMISE ARGUMENT...: `mos ARGUMENT...` succeeds.
accepts() {
  local promise=$1
  shift
  promises=$((promises + 1))
  run_mos "$@"
  if [ "$status" -eq 0 ]; then
    printf 'kept    %s\n' "$promise"
  else
    report_broken "$promise" "mos $*" "exit status $status: $err"
  fi
}

# holds PROMISE COMMAND...: COMMAND succeeds.
holds() {
  local promise=$1
  shift
  promises=$((promises + 1))
  if "$@" >"$scratch/holds" 2>&1; then
    printf 'kept    %s\n' "$promise"
  else
    report_broken "$promise" "$*" "$(tail -n 5 "$scratch/holds")"
  fi
}

# estimates PROMISE ARGUMENT...: `mos ARGUMENT... --dry-run` says how long and how much memory, and
# leaves output/ as it was.
estimates() {
  local promise=$1 before
  shift
  before=$(find output | sort)
  accepts "$promise" "$@" --dry-run
  holds "it says how long and how much memory" \
    grep -qE '^about [0-9.]+ (s|min|h) and [0-9.]+ GB of memory' <<<"$out"
  holds "and writes nothing" test "$before" = "$(find output | sort)"
}

# round_trips KOHYA: the file in every other dialect and back is the same file.
round_trips() {
  local format
  for format in mos peft diffusers; do
    accepts "kohya becomes $format" convert "$1" --to $format --out output/$format.safetensors
    accepts "$format becomes kohya again" convert output/$format.safetensors --to kohya \
      --out output/again.safetensors
    holds "with the same bytes as before" cmp "$1" output/again.safetensors
  done
}

finish() {
  printf '%d promises, %d broken\n' "$promises" "$broken"
  [ "$promises" -gt 0 ] && [ "$broken" -eq 0 ]
  exit
}

# le64 NUMBER: eight bytes, little-endian.
le64() {
  local number=$1
  for _ in 1 2 3 4 5 6 7 8; do
    # shellcheck disable=SC2059  # the format is the byte
    printf "\\x$(printf %02x $((number & 255)))"
    number=$((number >> 8))
  done
}

# safetensors HEADER BYTES: such a file with BYTES zeros of data.
safetensors() {
  le64 ${#1}
  printf '%s' "$1"
  head -c "$2" /dev/zero
}
