#!/usr/bin/env bash
# Makes the pictures of docs/painting.md anew by running its commands, each exactly as the page has
# it: after the base model or a sampler has changed, run this and look at them.
#
#   tools/paint_docs.sh [FOLDER]
#
# FOLDER (default: out/paint_docs) is where the commands run. It keeps the tuned concepts, which take
# most of the time: what lies there already is not tuned again. Needs cwebp (Debian: webp).
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

readonly page=$project_root/docs/painting.md pictures=$project_root/docs/painting
readonly most_bytes=15000 quality=80

# files_of PAGE: writes each block of JSON that stands below a line with nothing but `NAME.json`:.
files_of() {
  awk '
    /^`[a-z_]+\.json`:$/ { name = $0; gsub(/[`:]/, "", name); next }
    /^```json$/ && name != "" { writing = 1; printf "" > name; next }
    /^```$/ { if (writing) close(name); writing = 0; name = ""; next }
    writing { print > name }' "$1"
}

# commands_of PAGE: the lines of its blocks of shell.
commands_of() {
  awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0; next } inside { print }' "$1"
}

# mos: as the page calls it; a concept that is there is not tuned again.
mos() {
  local argument
  if [ "$1" = tune ]; then
    for argument in "$@"; do [ -e "$argument" ] && [[ $argument == *.safetensors ]] && return 0; done
  fi
  "$build_root/release/apps/mos/mos" "$@" >/dev/null
}

command -v cwebp >/dev/null || fail "$exit_unavailable" "cwebp is missing (Debian: webp)"
build release mos
set_environment
folder=${1:-$project_root/out/paint_docs}
mkdir -p -- "$folder"
cd -- "$folder"
ln -sfn -- "$project_root/base" base
ln -sfn -- "$project_root/docs" docs
ln -sfn -- "$project_root/examples" examples
files_of "$page"
source /dev/stdin <<<"$(commands_of "$page")"

grep -oE 'painting/[a-z_]+\.webp' "$page" | sort -u | while read -r picture; do
  name=$(basename -- "$picture" .webp)
  cwebp -quiet -q "$quality" -metadata none "$name.png" -o "$pictures/$name.webp"
  size=$(wc -c <"$pictures/$name.webp")
  [ "$size" -le "$most_bytes" ] || fail 1 "$name.webp has $size bytes, more than $most_bytes"
done
