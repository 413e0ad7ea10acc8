#!/usr/bin/env bash
# Makes sure that a Chromium is there for the tests of the web page, or says why they will be skipped.
set -euo pipefail
. "$(dirname "$0")/tool.sh"

tests="the tests of the web page"
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done
[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && exit 0
install_package Chromium chromium
