# For the scripts that make sure of a tool for tests; they source it and set `tests`, the tests that need the tool.

# Says what is wrong (the first argument, a sentence) and what to do (the second, without its end), and ends the script.
without() {
    echo "$1 $2, and run make test again."
    # CI must run them, so there it is an error.
    [ "${CI:-}" = true ] && exit 1
    echo "Until then $tests are skipped; every other test runs."
    exit 0
}

can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

# Installs a package of Debian. Arguments: the tool's name, the package's.
install_package() {
    local advice="Install it (Debian: apt-get install $2)" output
    can_install || without "There is no $1 on this machine." "$advice"
    echo "Installing $1 for $tests ..."
    export DEBIAN_FRONTEND=noninteractive
    if ! output=$({ apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } </dev/null 2>&1); then
        tail -n 5 <<<"$output"
        without "$1 could not be installed." "$advice"
    fi
}

# Builds a program unless it is there. Arguments: its name, module, version, that one's checksum, the folder of the
# command in the module; and `path` to only print where the program is, whether it is there or not.
go_program() {
    local name="$1" module="$2" version="$3" sum="$4" command="$5" go
    # Not in the clone: it can take minutes to build, and clones come and go.
    local folder="${XDG_CACHE_HOME:-$HOME/.cache}/medallion/bin"
    local program="$folder/$name-$version"
    if [ "${6:-}" = path ]; then
        echo "$program"
        return
    fi
    [ -x "$program" ] && return
    go=$(command -v go || command -v /usr/local/go/bin/go) ||
        without "There is no Go on this machine." "Install Go 1.25 or later"

    echo "Building $name $version for $tests ..."
    mkdir -p "$folder"
    build=$(mktemp -d "$folder/build.XXXXXX")
    trap 'rm -rf "$build"' EXIT
    cd "$build"
    if ! "$go" mod download -json "$module@$version" >log 2>&1; then
        tail -n 5 log
        without "$name could not be fetched." "Do what the error says"
    fi
    if ! grep -qF "$sum" log; then
        echo "$name $version is not what it was when it was tested: its checksum is no longer $sum. Nothing was built." >&2
        exit 1
    fi
    if ! CGO_ENABLED=0 GOBIN="$build" "$go" install -trimpath -ldflags="-s -w" "$module/$command@$version" >log 2>&1; then
        tail -n 5 log
        without "$name could not be built." "Do what the error says"
    fi
    # Renamed when it is whole: another clone may be looking for it.
    mv "${command##*/}" "$program"
}
