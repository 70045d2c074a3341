#!/usr/bin/env bash
# pages_test.sh MOS PROJECT: unit tests of the pages, the pages in Chromium against a stand-in for the
# server, and the whole way through them on the embedded base. What is not there (Node.js, Chromium, the
# built page) skips it, by name.
set -euo pipefail
mos=$1 project=$2
readonly exit_skipped=77

skip() {
  echo "skipped: the pages of mos studio are not tested: $1"
  exit $exit_skipped
}

command -v npx >/dev/null || skip "there is no Node.js"
[ -x /usr/bin/chromium ] || skip "there is no Chromium (Debian's package chromium)"
[ -x "$project/studio/node_modules/.bin/playwright" ] || skip "npm has not set up studio/"
[ -e "$project/studio/dist/index.html" ] || skip "the page is not built"
[ -x "$(dirname -- "$mos")/mos-studio" ] || skip "the studio is left out of this build"

cd "$project/studio"
npx vitest run
npx playwright test
MOS=$mos npx playwright test --config playwright.real.config.ts
