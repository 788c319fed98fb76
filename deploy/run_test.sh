#!/usr/bin/env bash
# Tests run.sh: a request comes out as a record, nothing is left behind, and a busy
# port is said, with what to do about it. Needs bin/ and curl; takes no fixed port.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export APP_ADDR=localhost:0 SIDECAR_ADDR=localhost:0

work=$(mktemp -d)
run=''
clean_up() {
  [ -z "$run" ] || kill "$run" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap clean_up EXIT
fail() { echo "run.sh: $*" >&2; cat "$work"/out* >&2; exit 1; }
eventually() {
  local _
  for _ in $(seq 100); do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "did not come to hold within 10 s: $*"
}

mkdir "$work/tmp"
TMPDIR=$work/tmp deploy/run.sh >"$work/out" 2>&1 &
run=$!
eventually grep -q 'Ctrl-C ends both' "$work/out"
addr=$(sed -n 's/^Now type in another terminal: *curl \(.*\)\/api\/users$/\1/p' "$work/out")
curl -sS --fail "$addr/api/users" >/dev/null
eventually grep -q '^{"raw":{"timestamp":".*","method":"GET","path":"/api/users","status":200},"host":' "$work/out"

if APP_ADDR=$addr deploy/run.sh >"$work/out-busy" 2>&1; then fail "a busy port is no error"; fi
[ "$(wc -l <"$work/out-busy")" -eq 2 ] || fail "a busy port is not a reason and a next step"
grep -q "^✗ main-app has ended: LISTEN_ADDR=$addr: .*in use" "$work/out-busy" || fail "a busy port is not said"
grep -q '^Next: .*APP_ADDR=' "$work/out-busy" || fail "what to do about a busy port is not said"

kill -TERM "$run"
kill -TERM "$run" 2>/dev/null || true # as somebody does who is in a hurry
wait "$run" || fail "exit code $?"
run=''
tail -n 1 "$work/out" | grep -q '^✓ both have ended$' || fail "its end is not said"
[ -z "$(ls "$work/tmp")" ] || fail "its directory is left behind"
if curl -s "$addr/healthz"; then fail "main-app is left behind"; fi

# A signal at the very start, when there is nothing yet but the directory.
mkdir "$work/bin"
cat >"$work/bin/mktemp" <<END
#!/bin/sh
kill -TERM "\$PPID"
exec $(command -v mktemp) "\$@"
END
chmod +x "$work/bin/mktemp"
TMPDIR=$work/tmp PATH=$work/bin:$PATH deploy/run.sh >"$work/out-early" 2>&1 || fail "exit code $?"
[ -z "$(ls "$work/tmp")" ] || fail "its directory is left behind by an early signal"
