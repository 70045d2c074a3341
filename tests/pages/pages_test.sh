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
[ -x "$(dirname -- "$mos")/mos-studio" ] || skip "the studio is left out of this build"

cd "$project/studio"
# Sources that do not build once left the studio without pages, and this test skipped.
npx tsc --noEmit
[ -e dist/index.html ] || skip "the page is not built"
newer=$(find src index.html -newer dist/index.html -print -quit)
[ -z "$newer" ] || {
  echo "the page is older than its sources ($newer); ./run build builds it"
  exit 1
}
npx vitest run
npx playwright test
MOS=$mos npx playwright test --config playwright.real.config.ts
