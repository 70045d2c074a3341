#!/usr/bin/env bash
# Under a limit on its address space (ulimit -v) every command works or says in one line that memory
# is short: it neither waits for ever nor faults.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

if grep -q __asan_init "$mos"; then
  echo "skipped: a sanitizer takes terabytes of addresses before the program begins"
  exit $exit_skipped
fi

first=$golden/fusion/edlora_0.safetensors
readonly exit_memory=5 exit_no_program=127 seconds=120

# ends_clearly NAME MEBIBYTES ARGUMENT...: `mos ARGUMENT...` within that much address space.
ends_clearly() {
  local name=$1 mebibytes=$2 last status=0
  shift 2
  promises=$((promises + 1))
  (ulimit -v $((mebibytes * 1024)) && exec timeout -s KILL $seconds "$mos" "$@") \
    >"$scratch/stdout" 2>"$scratch/stderr" </dev/null || status=$?
  last=$(tail -n 1 "$scratch/stderr")
  if [ $status -eq 0 ] || { [ $status -eq $exit_memory ] && [[ $last == "mos: "* ]]; } ||
    { [ $status -eq $exit_no_program ] && [[ $last == *"shared object"* || $last == *"shared libraries"* ]]; }
  then
    printf 'kept    %s within %d MiB: exit status %d\n' "$name" "$mebibytes" $status
  else
    report_broken "$name within $mebibytes MiB" "exit status $status: $last"
  fi
}

# enough NAME ARGUMENT...: several limits, from too little for the libraries to enough.
at_limits() {
  local mebibytes
  for mebibytes in 600 700 750 800 850 900 950 1000 1050 1100 1200 1300 1400 1600; do
    rm -rf output/*
    ends_clearly "$1" $mebibytes "${@:2}"
    holds "without partial files" test "$(find output -name '.*.part' | wc -l)" -eq 0
  done
  holds "$1 works within the last of them" test "$(find output -type f | wc -l)" -gt 0
}

mkdir -p input/data/images
cp "$project"/base/concepts/wizard/images/0[0-3].png input/data/images
at_limits "sampling" sample --base "$tiny_base" --prompt "a dog" --height 128 --width 128 --steps 2 \
  --out output/a.png
at_limits "fusing" fuse --base "$tiny_base" "$first" --steps 2 --lora output/a.safetensors
at_limits "tuning" tune --base "$tiny_base" --data input/data --words "<fox1>,<fox2>" --class-word fox \
  --size 64 --steps 2 --preview-pictures 0 --out output/a.safetensors
at_limits "converting" convert "$tiny_base" --out output/model.safetensors
finish
