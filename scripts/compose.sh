#!/usr/bin/env bash
# Makes sure that the compose specification's own reader is there for the tests of docker-compose.yml, or says why they
# will be skipped. `scripts/compose.sh path` prints where it is, whether it is there or not.
set -euo pipefail
. "$(dirname "$0")/tool.sh"

tests="the tests of the deployment"
# The newest one whose command replaces variables by those of its environment.
version=v2.1.3
sum="h1:bD67uqLuL/XgkAK6ir3xZvNLFPxPScEi1KW7R5esrLE="
go_program compose-go github.com/compose-spec/compose-go/v2 "$version" "$sum" cmd "$@"
