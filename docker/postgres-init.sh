#!/bin/bash
# Makes the role and the database of Dagster's runs, events and schedules, in a new and empty cluster. The role owns its
# database and may do nothing else.
set -euo pipefail
: "${DAGSTER_PASSWORD:?}"

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv password DAGSTER_PASSWORD
create role dagster login password :'password';
create database dagster owner dagster;
revoke connect on database dagster, postgres from public;
SQL
