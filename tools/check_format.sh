#!/usr/bin/env bash
# Checks the form of every source: clang-format for C++, shellcheck for scripts, white space.
#   check_format.sh         names what is wrong; exit status 1 if anything is
#   check_format.sh --fix   formats the C++ sources in place
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

install_packages "${check_packages[@]}"
cd "$project_root"

# sources PATTERN...: tracked and new files, not those removed from the working tree.
sources() {
  local file
  git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while read -r file; do
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done
}

mapfile -t cpp < <(sources '*.h' '*.cpp' '*.cu' '*.cuh')
if [ "${1:-}" = --fix ]; then
  clang-format -i "${cpp[@]}"
  exit
fi
mapfile -t scripts < <(sources '*.sh' run .ci/run)
mapfile -t texts < <(sources '*.h' '*.cpp' '*.cu' '*.cuh' '*.sh' '*.md' '*.mjs' '*.cmake' '*CMakeLists.txt' run)

status=0
complain() {
  say "$1"
  status=1
}
clang-format --dry-run --Werror "${cpp[@]}" || complain "clang-format: tools/check_format.sh --fix"
shellcheck "${scripts[@]}" || complain "shellcheck has found something"
grep -nE '[[:space:]]+$|^ *'$'\t' "${texts[@]}" && complain "tabs or space at the end of a line"
grep -L '^#pragma once$' "${cpp[@]}" | grep -E '^(mos|apps|tests|bench)/.*\.(h|cuh)$' &&
  complain "headers without #pragma once"
[ "$status" -ne 0 ] || say "the form of ${#cpp[@]} C++ sources and ${#scripts[@]} scripts is right"
exit "$status"
