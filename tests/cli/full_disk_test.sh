#!/usr/bin/env bash
# On a full disk the work ends with one line and leaves no partial file; what is mounted is never
# replaced. Needs the right to mount.
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
mkdir -p input/data/images spare
cp "$project"/base/concepts/wizard/images/0[01].png input/data/images
tune=(tune --base "$tiny_base" --data input/data --words "<fox>" --class-word fox --size 64 --steps 2
  --batch 1 --variants 1 --checkpoint-every 1 --preview-pictures 0 --dtype float32)
accepts "a concept with room" "${tune[@]}" --out spare/whole.safetensors
TMPDIR=$scratch/spare refuses "a concept that is tuned on a full disk" $exit_format \
  'space.*The concept is kept in .*/spare/.*/fox.safetensors' "${tune[@]}" --out output/fox.safetensors
holds "which is not lost" cmp spare/whole.safetensors spare/mos-tune-*/fox.safetensors

touch input/other input/mounted.safetensors
accepts "a model" convert "$tiny_base" --out input/model
mount --bind input/other input/mounted.safetensors
mount --bind input/model/unet input/model/vae
trap 'umount output input/mounted.safetensors input/model/vae; cd /; rm -rf "$scratch"' EXIT
refuses "a file that is mounted" $exit_format 'a file is mounted there' \
  fuse --base "$tiny_base" --method weight --lora input/mounted.safetensors "$concept_file"
refuses "a model in which something is mounted" $exit_usage 'something is mounted in it, at vae' \
  convert "$tiny_base" --out input/model --overwrite
holds "which is as it was" test -f input/model/unet/config.json
finish
