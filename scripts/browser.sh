#!/usr/bin/env bash
# Makes sure that a Chromium is there for the tests of the web page, or says why they will be skipped.
set -euo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done
[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && exit 0

without() {
    echo "$1 The tests of the web page need it: install it (Debian: apt-get install chromium) and run make test again."
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Without it they are skipped; every other test runs."
    exit 0
}

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    without "There is no Chromium or Chrome on this machine."
fi

echo "Installing Chromium for the tests of the web page ..."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } </dev/null >"$log" 2>&1; then
    tail -n 5 "$log"
    without "Chromium could not be installed."
fi
