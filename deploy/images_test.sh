#!/usr/bin/env bash
# Checks what the images promise: images_test.sh IMAGE...
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: ${0##*/} IMAGE..." >&2; exit 2; }
max_bytes=7500000 # over the base

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "✗ $image: $*" >&2; exit 1; }

for image in "$@"; do
  version=${image##*:} name=${image%:*}
  name=${name##*/}

  # The base has no C library: that the program runs there says that it is static.
  said=$(docker run --rm --read-only --network none "$image" -version) || fail "does not run with a read-only root file system"
  [ "$said" = "$name $version" ] || fail "says that it is $said"

  user=$(docker image inspect --format '{{.Config.User}}' "$image")
  [ "$user" = 65532:65532 ] || fail "runs as $user"

  # What the base does not have is the last layer: one file, the program.
  mkdir -p "$work/$name"
  docker save "$image" | tar -xC "$work/$name"
  layer=$(sed 's/.*"Layers":\[[^]]*"\([^"]*\)"\].*/\1/' "$work/$name/manifest.json")
  files=$(tar -tf "$work/$name/$layer")
  [ "$files" = "$name" ] || fail "adds to its base: $files"
  bytes=$(tar -xOf "$work/$name/$layer" "$name" | wc -c)
  [ "$bytes" -le "$max_bytes" ] || fail "adds $bytes bytes to its base, more than $max_bytes"

  echo "✓ $image: one static binary of $((bytes)) bytes, user $user, runs with a read-only root file system"
done
