#!/usr/bin/env bash
# Makes sure that a PostgreSQL server is there for the tests on one, or says why they will be skipped.
set -euo pipefail
. "$(dirname "$0")/tool.sh"

tests="the tests on the system's PostgreSQL"
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && exit 0
# The tests start servers of their own; the package's would only take memory.
if can_install && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
fi
install_package PostgreSQL postgresql
