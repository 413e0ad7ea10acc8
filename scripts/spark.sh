#!/usr/bin/env bash
# Makes sure that Java 17 and Spark's jars are there for the tests on Apache Spark, or says why they will be skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

without() {
    echo "$1"
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Without it the tests on Apache Spark are skipped; every other test runs."
    exit 0
}

if ! command -v java >/dev/null && [ -z "${JAVA_HOME:-}" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        without "There is no Java on this machine: install it (Debian: apt-get install openjdk-17-jre-headless) and run make test again."
    fi
    echo "Installing Java for the tests on Apache Spark ..."
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless; } </dev/null >"$log" 2>&1; then
        tail -n 5 "$log"
        without "Java could not be installed."
    fi
fi
.venv/bin/medallion jars fetch || without "The jars could not be fetched."
