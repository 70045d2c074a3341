#!/usr/bin/env bash
# Other people's clients of A1111's and OpenAI's APIs against mos studio on the tiny model.
#   studio_clients_test.sh MOS PROJECT   MOS_STUDIO_CLIENTS is the folder with what they need
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
mos=$1 project=$2

if [ -z "${MOS_STUDIO_CLIENTS:-}" ]; then
  echo "skipped: './run test studio-clients' installs the clients that this needs"
  exit 77
fi
scratch=$(mktemp -d)
server=0
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT

"$mos" studio --port 0 --folder "$scratch/folder" --base "$project/tests/golden/data/tiny_sd" \
  --concept "$project/tests/golden/data/fusion/edlora_0.safetensors" \
  >"$scratch/address" 2>"$scratch/talk" &
server=$!
for _ in {1..200}; do
  [ -s "$scratch/address" ] && break
  sleep 0.1
done
address=$(<"$scratch/address")
export MOS_STUDIO_ADDRESS=${address%/} PYTHONDONTWRITEBYTECODE=1

cd -- "$here"
status=0
"$MOS_STUDIO_CLIENTS/venv/bin/python" -m unittest discover --pattern '*_test.py' --verbose || status=1
# Node looks for packages beside the script.
cp openai_test.mjs "$MOS_STUDIO_CLIENTS/node/"
node --test "$MOS_STUDIO_CLIENTS/node/openai_test.mjs" || status=1
[ "$status" -eq 0 ] || tail -n 20 "$scratch/talk" >&2
exit "$status"
