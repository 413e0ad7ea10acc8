#!/usr/bin/env bash
# Makes sure that a PostgreSQL server is there for the tests on one, or says why they will be skipped.
set -euo pipefail

compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && exit 0

without() {
    echo "$1 Tests on the system's PostgreSQL need it: install it (Debian: apt-get install postgresql) and run make test again."
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Without it they are skipped; every other test runs, on the embedded server."
    exit 0
}

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    without "There is no PostgreSQL server on this machine."
fi

echo "Installing PostgreSQL for the tests ..."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# The tests start servers of their own; the package's would only take memory.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; } </dev/null >"$log" 2>&1; then
    tail -n 5 "$log"
    without "PostgreSQL could not be installed."
fi
