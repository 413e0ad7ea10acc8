#!/usr/bin/env bash
# Makes sure that Java 17 and Spark's jars are there for the tests on Apache Spark, or says why they will be skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/tool.sh

tests="the tests on Apache Spark"
if ! command -v java >/dev/null && [ -z "${JAVA_HOME:-}" ]; then
    install_package Java openjdk-17-jre-headless
fi
.venv/bin/medallion jars fetch || without "Spark's jars could not be fetched." "Do what the error says"
