#!/usr/bin/env bash
# The layering check finds what it is there for.
set -euo pipefail
check=$(dirname -- "${BASH_SOURCE[0]}")/check_layering.sh
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/mos/{io,nn,tune,fuse,session,jobs,studio,attic} "$root"/apps/mos

# expect pass|fail FILE INCLUDE: the check of a tree with this one include passes or names the file.
expect() {
  local wanted=$1 file=$2 include=$3 found=pass output
  printf '#include <vector>\n#include "%s"\n' "$include" >"$root/$file"
  output=$("$check" "$root") || found=fail
  rm "$root/$file"
  if [ "$found" != "$wanted" ] || { [ "$found" = fail ] && [[ $output != "$file:2: "* ]]; }; then
    echo "$file including \"$include\": expected $wanted, got $found: $output"
    exit 1
  fi
}

expect pass mos/tune/trainer.cpp mos/concepts/lora.h
expect pass mos/tune/trainer.cpp mos/tune/trainer.h
expect pass apps/mos/main.cpp mos/fuse/gram.h
expect fail mos/io/safetensors.cpp mos/nn/unet.h
expect fail mos/nn/unet.h mos/io/safetensors.h
expect fail mos/fuse/solver.cpp mos/tune/trainer.h
expect fail mos/nn/unet.cpp apps/mos/command.h
expect fail mos/nn/unet.cpp unet.h
expect pass mos/jobs/sample.cpp mos/session/paint.h
expect fail mos/session/paint.cpp mos/jobs/sample.h
expect fail mos/session/paint.cpp mos/tune/tune.h
expect fail mos/jobs/sample.cpp apps/mos/flags.h
expect pass mos/studio/forms.cpp mos/base/json.h
expect fail mos/studio/forms.cpp mos/jobs/sample.h
expect fail mos/jobs/sample.cpp mos/studio/job.h
expect fail mos/attic/old.cpp mos/base/error.h
echo "the layering check passes what it should and names what it should"
