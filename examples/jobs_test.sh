#!/usr/bin/env bash
# jobs_test.sh <example_jobs> <folder of the project>: the example tunes, fuses and paints; what goes
# wrong is its own error and exit code.
set -euo pipefail
example=$1
project=$2
tiny_base=$project/tests/golden/data/tiny_sd
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$example" "$tiny_base" "$project/base/concepts/teddy" "$scratch" >"$scratch/said" 2>"$scratch/errors"
for result in own.safetensors model/model_index.json model/fusion_report.json picture.png picture.json; do
  test -s "$scratch/$result" || { echo "there is no $result"; exit 1; }
done
grep -q '^tuning: 3 steps$' "$scratch/said"
grep -q '^painting: 2 steps$' "$scratch/said"
grep -q '^log: tuning own on ' "$scratch/said"
grep -q "^result: $scratch/picture.png\$" "$scratch/said"
test ! -s "$scratch/errors" || { echo "said on stderr:"; cat "$scratch/errors"; exit 1; }

status=0
"$example" "$tiny_base" "$scratch/absent" "$scratch" >/dev/null 2>"$scratch/errors" || status=$?
test "$status" -eq 3 || { echo "a folder that is not there ended with $status"; exit 1; }
grep -q absent "$scratch/errors"
echo "the example tunes, fuses and paints"
