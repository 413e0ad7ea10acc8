#!/usr/bin/env bash
# Makes sure that a real S3 server (versitygw) is there for the tests on object storage, or says why they will be skipped.
# `scripts/object_store.sh path` prints where it is, whether it is there or not.
set -euo pipefail
. "$(dirname "$0")/tool.sh"

tests="the tests on a real S3 server"
# A version whose conditional PUT lets exactly one of 16 racers win in every round (600 rounds; up to 32 of 32 won
# before its pull request 2288).
version=v1.8.0
sum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc="
go_program versitygw github.com/versity/versitygw "$version" "$sum" cmd/versitygw "$@"
