#!/usr/bin/env bash
# What is promised of models as large as Stable Diffusion 1.5, at 512x512 pixels: conversion there
# and back, and the memory that loading, painting, tuning and fusing take. The weights are random,
# which changes neither sizes nor times.
#
#   MOS_FULL_SIZE_DIR     folder for all files; the model stays there for the next time
#   MOS_FULL_SIZE_STEPS   denoising steps for each fused concept [20]; 2 is a short test, and needs
#                         the same memory
fuse_steps=${MOS_FULL_SIZE_STEPS:-20}
if [ -n "${MOS_FULL_SIZE_DIR:-}" ]; then
  mkdir -p "$MOS_FULL_SIZE_DIR" || exit 1
  TMPDIR=$(realpath -- "$MOS_FULL_SIZE_DIR")
  export TMPDIR
fi
source "$(dirname -- "${BASH_SOURCE[0]}")/../cli/cli.sh"
loading=$3
began=$SECONDS

# Gigabytes of 10^9 bytes, as everywhere in the documentation.
readonly disk_needed=10 memory_needed=6
readonly sample_limit=4.0 tune_limit=8.0 fuse_limit=5.0 file_limit=1.0 loading_limit=1.3
readonly concepts=14

skip_unless() {
  local what=$1 needed=$2 there=$3
  [ "$there" -ge "$needed" ] && return
  echo "skipped: the full-size test needs $needed GB of $what, there are $there"
  exit $exit_skipped
}
skip_unless "disk in ${TMPDIR:-/tmp} (MOS_FULL_SIZE_DIR names another folder)" $disk_needed \
  "$(($(df --output=avail -B1 "$scratch" | tail -n 1) / 10 ** 9))"
skip_unless "free memory" $memory_needed \
  "$(($(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) * 1024 / 10 ** 9))"

# ---- Measuring ----

# below A B: the decimal numbers are in this order.
# shellcheck disable=SC2317  # holds calls it
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 > 0 && a + 0 <= b + 0) }'; }

# watch_process PID: follows it to its end; $peak is its highest resident memory in GB, $cpu its CPU
# seconds. Both only grow, so what was seen last before it went is what it had.
watch_process() {
  local now stat kilobytes=0 ticks=0
  while now=$(sed -n 's/^VmHWM:\s*\([0-9]*\).*/\1/p' "/proc/$1/status" 2>/dev/null) &&
    [ -n "$now" ]; do
    kilobytes=$now
    read -ra stat 2>/dev/null <"/proc/$1/stat" && ticks=$((stat[13] + stat[14]))
    sleep 0.1
  done
  cpu=$((ticks / $(getconf CLK_TCK)))
  peak=$(awk -v kilobytes="$kilobytes" 'BEGIN { printf "%.2f", kilobytes * 1024 / 1e9 }')
}

measured=()
# measures PROMISE LIMIT ARGUMENT...: `mos ARGUMENT...` succeeds, with at most LIMIT GB. Its progress
# is shown.
measures() {
  local promise=$1 limit=$2 start=$SECONDS peak cpu pid status=0
  shift 2
  promises=$((promises + 1))
  printf '....    %s\n' "$promise"
  "$mos" "$@" >"$scratch/stdout" </dev/null &
  pid=$!
  watch_process $pid
  wait $pid || status=$?
  cat "$scratch/stdout"
  [ "$status" -eq 0 ] || report_broken "$promise" "mos $*" "exit status $status"
  measured+=("$(printf '%-34s %5d s, %5d CPU s, %5s GB of %s' "$promise" $((SECONDS - start)) \
    "$cpu" "$peak" "$limit")")
  printf '%s\n' "${measured[-1]}"
  holds "$promise: at most $limit GB" below "$peak" "$limit"
}

# loads WHAT MODEL TYPE: the peak of loading is near the size of the weights in that precision.
loads() {
  local said ratio
  said=$("$loading" "$2" "$3" 2>/dev/null)
  ratio=$(sed -n 's/.*(\([0-9.]*\) x the weights).*/\1/p' <<<"$said")
  measured+=("$(printf '%-34s %s' "loading $1 as $3" "$said")")
  printf '%s\n' "${measured[-1]}"
  holds "loading $1 as $3: at most $loading_limit times its weights" below "$ratio" $loading_limit
}

# ---- The model, in both layouts ----

model=${MOS_FULL_SIZE_DIR:+$TMPDIR/sd15}
model=${model:-$scratch/sd15}
if [ ! -d "$model" ]; then
  measures "a random model" $file_limit init-random --config sd15 --dtype float16 --out "$model"
fi
measures "folder to single file" $file_limit convert "$model" --out output/single.safetensors
measures "single file to folder" $file_limit convert output/single.safetensors --out output/back
holds "there and back, every file has the same bytes" diff -r "$model" output/back
rm -rf output/back
for type in float16 bfloat16 float32; do
  loads "a folder" "$model" $type
  loads "a single file" output/single.safetensors $type
done
rm output/single.safetensors

# ---- A concept ----

common=(--base "$model" --dtype bfloat16)
# Rates far above the usual ones: a few steps shall make more than rounding errors.
measures "tuning, batch 1" $tune_limit tune "${common[@]}" --data "$project/base/concepts/wizard" \
  --size 512 --batch 1 --steps 3 --variants 1 --unet-rate 0.003 --text-rate 0.001 \
  --preview-pictures 0 --out output/wizard.safetensors
accepts "its LoRA alone, as kohya writes it" convert output/wizard.safetensors --only lora \
  --to kohya --out output/kohya.safetensors
round_trips output/kohya.safetensors

paint=(sample "${common[@]}" --height 512 --width 512 --steps 2)
measures "painting with the concept" $sample_limit "${paint[@]}" \
  --concept output/wizard.safetensors --prompt "a photo of a <wizard1> <wizard2>" \
  --out output/picture.png
measures "the same picture again" $sample_limit sample --rerun output/picture.png \
  --out output/again.png
holds "has the same bytes" cmp output/picture.png output/again.png

# ---- Fusion ----

# The same file under other names and words, with other factors: as much work as other concepts.
files=() renames='' scales=''
for ((i = 1; i <= concepts; ++i)); do
  ln output/wizard.safetensors "input/wizard-$i.safetensors"
  files+=("input/wizard-$i.safetensors")
  renames+="${renames:+,}$i:<wizard1>=<w${i}a>,$i:<wizard2>=<w${i}b>"
  scales+="${scales:+,}$(awk -v i="$i" 'BEGIN { print 1.05 - 0.05 * i }')"
done
fuse=(fuse "${common[@]}" --steps "$fuse_steps" --rename "$renames" --text-scales "$scales"
  --unet-scales "$scales" --lora output/fused.safetensors --report output/report.json "${files[@]}")
measures "the estimate for $concepts concepts" $fuse_limit "${fuse[@]}" --dry-run
measures "fusing $concepts concepts" $fuse_limit "${fuse[@]}"
regions='[a <w1a> <w1b>]-*-[]-*-[0, 0, 1, 0.5]|[a <w2a> <w2b>]-*-[]-*-[0, 0.5, 1, 1]'
measures "painting with $concepts concepts" $sample_limit "${paint[@]}" \
  --concept output/fused.safetensors --prompt "a beach" --regions "$regions" --out output/fused.png

printf '\nmeasured in %d min:\n' $(((SECONDS - began) / 60))
printf '  %s\n' "${measured[@]}"
finish
