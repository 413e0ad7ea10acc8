#!/usr/bin/env bash
# `init` makes the buckets, the users and what each user may do, and may be repeated: it sets secrets and policies anew.
# `health` fails unless the server answers a signed request from its disk.
#
# Environment: ADMIN_ENDPOINT_URL, ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY, ADMIN_REGION; for `init` also
# POLICIES (a folder with <bucket>.json) and <USER>_SECRET of the users pipeline, supplier and bi.
set -euo pipefail

signed() { # METHOD PATH [FILE]
    local hash
    hash=$(sha256sum "${3:-/dev/null}" | cut -d' ' -f1)
    # The secret goes through a file that no list of processes shows.
    curl --silent --show-error --fail-with-body --max-time 10 --config <(
        printf 'user = "%s:%s"\n' "$ADMIN_ACCESS_KEY_ID" "$ADMIN_SECRET_ACCESS_KEY"
    ) --aws-sigv4 "aws:amz:$ADMIN_REGION:s3" --header "x-amz-content-sha256: $hash" \
        --request "$1" ${3:+--data-binary "@$3"} "$ADMIN_ENDPOINT_URL$2"
}

named() { # NAME: whether a line of the input begins with that word
    awk -v name="$1" '$1 == name { found = 1 } END { exit !found }'
}

user() { # NAME SECRET
    if [ -z "$2" ]; then
        echo "the secret of the S3 user $1 is empty" >&2
        exit 1
    fi
    if versitygw admin list-users | named "$1"; then
        versitygw admin update-user --access "$1" --secret "$2"
    else
        versitygw admin create-user --access "$1" --secret "$2" --role user
    fi
}

bucket() { # NAME
    if ! versitygw admin list-buckets | named "$1"; then
        versitygw admin create-bucket --bucket "$1" --owner "$ADMIN_ACCESS_KEY_ID"
    fi
    signed PUT "/$1?policy=" "$POLICIES/$1.json"
    echo "bucket $1 has its policy"
}

case "${1:-}" in
health)
    signed GET / >/dev/null
    ;;
init)
    user pipeline "${PIPELINE_SECRET:-}"
    user supplier "${SUPPLIER_SECRET:-}"
    user bi "${BI_SECRET:-}"
    bucket lake
    bucket landing
    ;;
*)
    echo "usage: object-store.sh init|health" >&2
    exit 2
    ;;
esac
