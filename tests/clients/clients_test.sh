#!/usr/bin/env bash
# Our files in other people's programs and theirs in ours, compared by their pictures.
#   clients_test.sh MOS PROJECT   MOS_CLIENTS_PYTHON has what requirements.txt names
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

if [ -z "${MOS_CLIENTS_PYTHON:-}" ]; then
  echo "skipped: './run test clients' makes the Python with diffusers that this needs"
  exit 77
fi
export MOS_BINARY=$1 MOS_PROJECT=$2 HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
exec "$MOS_CLIENTS_PYTHON" -m unittest discover --pattern '*_test.py' --verbose
