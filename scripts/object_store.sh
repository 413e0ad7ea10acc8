#!/usr/bin/env bash
# Makes sure that a real S3 server (versitygw) is there for the tests on object storage, or says why they will be skipped.
# `scripts/object_store.sh path` prints where it is, whether it is there or not.
set -euo pipefail

# A version whose conditional PUT lets exactly one of 16 racers win in every round (600 rounds; up to 32 of 32 won
# before its pull request 2288).
version=v1.8.0
sum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
package=github.com/versity/versitygw
# Not in the clone: it takes minutes to build, and clones come and go.
folder="${XDG_CACHE_HOME:-$HOME/.cache}/medallion/bin"
server="$folder/versitygw-$version"

if [ "${1:-}" = path ]; then
    echo "$server"
    exit 0
fi
[ -x "$server" ] && exit 0

without() {
    echo "$1 Tests on a real S3 server need it: install Go 1.25 or later and run make test again."
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Without it they are skipped; every other test runs, on a server written in Python."
    exit 0
}

go=$(command -v go || command -v /usr/local/go/bin/go) || without "There is no Go on this machine."

echo "Building versitygw $version for the tests on object storage ..."
mkdir -p "$folder"
build=$(mktemp -d "$folder/build.XXXXXX")
trap 'rm -rf "$build"' EXIT
cd "$build"
if ! "$go" mod download -json "$package@$version" >download 2>&1; then
    tail -n 5 download
    without "versitygw could not be fetched."
fi
if ! grep -qF "$sum" download; then
    echo "versitygw $version is not what it was when it was tested: its checksum is no longer $sum. Nothing was built." >&2
    exit 1
fi
if ! CGO_ENABLED=0 GOBIN="$build" "$go" install -trimpath -ldflags="-s -w" "$package/cmd/versitygw@$version" >log 2>&1; then
    tail -n 5 log
    without "versitygw could not be built."
fi
# Renamed when it is whole: another clone may be looking for it.
mv versitygw "$server"
