#!/usr/bin/env bash
# Makes sure that the compose specification's own reader is there for the tests of docker-compose.yml, or says why they
# will be skipped. `scripts/compose.sh path` prints where it is, whether it is there or not.
set -euo pipefail

# The newest one whose command replaces variables by those of its environment.
version=v2.1.3
package=github.com/compose-spec/compose-go/v2/cmd
folder="${XDG_CACHE_HOME:-$HOME/.cache}/medallion/bin"
reader="$folder/compose-go-$version"

if [ "${1:-}" = path ]; then
    echo "$reader"
    exit 0
fi
[ -x "$reader" ] && exit 0

without() {
    echo "$1 The tests of the deployment need it: install Go 1.21 or later and run make test again."
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Without it they are skipped; every other test runs."
    exit 0
}

go=$(command -v go || command -v /usr/local/go/bin/go) || without "There is no Go on this machine."

mkdir -p "$folder"
build=$(mktemp -d "$folder/build.XXXXXX")
trap 'rm -rf "$build"' EXIT
cd "$build"
if ! CGO_ENABLED=0 GOBIN="$build" "$go" install -trimpath -ldflags="-s -w" "$package@$version" >log 2>&1; then
    tail -n 5 log
    without "The reader of compose files could not be built."
fi
# Renamed when it is whole: another clone may be looking for it.
mv cmd "$reader"
