#!/usr/bin/env bash
# What other programs read: --progress json is JSON alone, a line each, for every long command, and
# --help json is a schema of what a command takes.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

data=$project/base/concepts/teddy
tune=(tune --base "$tiny_base" --data "$data" --size 64 --steps 2
  --batch 1 --dtype float32 --preview-pictures 1 --preview-steps 2)

# line PATTERN: a line of stderr matches (extended).
# shellcheck disable=SC2317  # holds calls it
line() { grep -qE -- "$1" "$scratch/stderr"; }

# only_json: every line of stderr is one object with an event.
# shellcheck disable=SC2317  # holds calls it
only_json() {
  [ -s "$scratch/stderr" ] && ! grep -vE '^\{"event":"(progress|preview|log|error)",.*\}$' "$scratch/stderr"
}

number='[0-9.e+-]+'
accepts "tuning" "${tune[@]}" --out output/a.safetensors --progress json
holds "says nothing but JSON" only_json
holds "with step, total, loss, seconds and what is left" line \
  "^\{\"event\":\"progress\",\"stage\":\"tuning\",\"step\":2,\"total\":2,\"loss\":$number,\"seconds\":$number,\"left\":0\.0\}$"
holds "the sample picture" line '^\{"event":"preview","path":"output/a-previews/step-000002-1.png"\}$'
holds "and talk" line '^\{"event":"log","level":"info","message":"tuning a on 8 pictures.*"\}$'
holds "the result is on stdout as ever" test "$out" = output/a.safetensors

accepts "fusing" fuse output/a.safetensors --base "$tiny_base" --steps 2 --size 64 \
  --lora output/fused.safetensors --progress json
holds "says nothing but JSON" only_json
holds "with the stages of fusion" line '"stage":"recording the text encoder","step":1,"total":1,"loss":null'
accepts "painting" sample --base "$tiny_base" --prompt "a dog" --height 64 --width 64 --steps 2 \
  --out output/dog.png --progress=json
holds "says nothing but JSON" only_json
holds "with the picture" line '^\{"event":"preview","path":"output/dog.png"\}$'
accepts "painting with previews" sample --base "$tiny_base" --prompt "a dog" --height 64 --width 64 \
  --steps 3 --preview 1 --out output/seen.png --progress json
holds "names each in its place" test "$(grep -cF \
  '{"event":"preview","path":"output/seen.preview.png"}' "$scratch/stderr")" -ge 1
holds "and the picture last" line '^\{"event":"preview","path":"output/seen.png"\}$'
accepts "measuring" evaluate output/dog.png --references "$data" --base "$project/base" \
  --progress json
holds "says nothing but JSON" only_json
holds "and prints figures" grep -q '^image_alignment ' <<<"$out"

# fails PROMISE STATUS KIND ARGUMENT...
fails() {
  local promise=$1 wanted=$2 kind=$3
  shift 3
  run_mos "$@" --progress json
  holds "$promise ends with $wanted" test "$status" -eq "$wanted"
  holds "says nothing but JSON" only_json
  holds "and says so last" grep -qE \
    "^\{\"event\":\"error\",\"kind\":\"$kind\",\"message\":\".+\",\"exit_code\":$wanted\}$" \
    <(tail -n 1 "$scratch/stderr")
}
fails "an option that there is not" $exit_usage usage "${tune[@]}" --out output/b.safetensors --stesp 3
fails "a folder that is not there" $exit_format io tune --data input/absent --out output/b.safetensors
refuses "another style" $exit_usage '--progress is "yaml", expected one of bar, json' \
  sample --prompt "a dog" --progress yaml

for command in tune fuse sample evaluate study demo condition inspect convert init-random pretrain world; do
  accepts "mos $command --help json" "$command" --help json
  holds "is a schema" grep -qF 'https://json-schema.org' <<<"$out"
done
for schema in "$project"/studio/tests/mock/schemas/*.json; do
  run_mos "$(basename "$schema" .json)" --help json
  holds "pages are tested with what the program says: $schema" diff -q "$schema" <(cat <<<"$out")
done
run_mos tune --help json
holds "with types, ranges, defaults" grep -qzE \
  '"steps": \{\s+"type": "integer",\s+"minimum": 1,\s+"maximum": 1000000000,\s+"description": "optimiser steps",\s+"default": 1000' \
  <<<"$out"
holds "and what no file has" grep -qzE '"dry_run": \{[^}]*"x-flag-only": true' <<<"$out"
holds "which is nothing else" test "$(grep -c x-flag-only <<<"$out")" -eq 3
holds "and choices" grep -qzE '"framing": \{\s+"type": "string",\s+"enum": \[\s+"character",' <<<"$out"

# What the schema says of ranges and choices is what flags and files get to hear.
refuses "a flag outside its range" $exit_usage '--crop-probability is 2, expected a value from 0 to 1' \
  "${tune[@]}" --out output/b.safetensors --crop-probability 2
echo '{"crop_probability": 2}' >input/tune.json
refuses "a file's value outside it" $exit_usage '"crop_probability" is 2, expected a value from 0 to 1' \
  "${tune[@]}" --out output/b.safetensors --config input/tune.json
echo '{"framing": "objekt"}' >input/tune.json
refuses "a file's choice that there is not" $exit_usage 'tune.json: "framing" is "objekt".*object' \
  "${tune[@]}" --out output/b.safetensors --config input/tune.json
refuses "nor a flag's" $exit_usage '--framing is "objekt".*object' \
  "${tune[@]}" --out output/b.safetensors --framing objekt
finish
