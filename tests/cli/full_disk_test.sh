#!/usr/bin/env bash
# On a full disk the work ends with one line and leaves no partial file. Needs the right to mount.
if [ "${3:-}" != mounted ]; then
  for unshare in "unshare --mount" "unshare --map-root-user --mount"; do
    $unshare true 2>/dev/null && exec $unshare "${BASH_SOURCE[0]}" "$1" "$2" mounted
  done
  echo "skipped: a small disk cannot be mounted here"
  exit 77
fi
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

mount -t tmpfs -o size=64k tmpfs output || exit $exit_skipped
trap 'umount "$scratch/output"; rm -rf "$scratch"' EXIT
concept_file=$golden/fusion/edlora_0.safetensors
refuses "a concept file on a full disk" $exit_format 'space' \
  fuse --base "$tiny_base" --method weight --lora output/fused.safetensors "$concept_file"
refuses "a model on a full disk" $exit_format 'space' \
  fuse --base "$tiny_base" --method weight --out output/model "$concept_file"
finish
