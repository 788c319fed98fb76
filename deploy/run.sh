#!/usr/bin/env bash
# Runs main-app and log-sidecar on this machine as a Pod runs them: two processes
# that share nothing but a directory. Needs bin/main-app and bin/log-sidecar, which
# `make run` builds first.
#
#   APP_ADDR      where main-app listens                 (localhost:8080)
#   SIDECAR_ADDR  where log-sidecar listens              (localhost:9090)
#   LOG_DIR       where the log goes, and stays          (a directory that is removed)
#   STATE_DIR     where the positions are kept: with both, the next run prints only
#                 what is new                            (a directory that is removed)
#
# The other variables of the two programs are passed on, but for LISTEN_ADDR, LOG_PATH
# and APP_HEALTH_URL, which follow from these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bold='' green='' red='' plain=''
if [ -t 1 ]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

app='' sidecar='' work='' asked='' # asked to end

alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

# end PROGRAM PID: let it finish; a second Ctrl-C meanwhile does not.
end() {
  ending=$2 # for the trap, which can come when this function has returned
  alive "$ending" || return 0
  trap 'kill -KILL "$ending" 2>/dev/null || true' INT TERM HUP
  # Before it has said something it may still be this shell's child, to which a signal is
  # lost.
  while [ ! -s "$work/$1.stderr" ] && alive "$ending"; do
    sleep 0.05
  done
  kill -TERM "$ending" 2>/dev/null || true
  while alive "$ending"; do # a signal interrupts wait
    wait "$ending" || true
  done
}

clean_up() {
  trap - EXIT
  end main-app "$app"
  end log-sidecar "$sidecar"
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$asked" ] || printf '%s✓%s both have ended\n' "$green" "$plain"
}
trap clean_up EXIT
trap 'trap "" INT TERM HUP; asked=1; exit 0' INT TERM HUP

work=$(mktemp -d) # only now that the traps remove it
log_dir=${LOG_DIR:-$work/log}
state_dir=${STATE_DIR:-$work/state}
mkdir -p "$log_dir" "$state_dir"
# Here and now: a program that was just started may not have made its own yet.
touch "$work/main-app.stderr" "$work/log-sidecar.stderr"

# fail PROGRAM: it has ended; show the last thing it said, without the JSON around it,
# and what to do about it.
fail() {
  local said
  said=$(tail -n 1 "$work/$1.stderr" | sed -e 's/.*"msg":"//' -e 's/"[,}].*//' -e 's/\\"/"/g')
  printf '%s✗ %s has ended:%s %s\n' "$red" "$1" "$plain" "$said" >&2
  case $1:$said in
    *"bin/$1: No such file"*) echo 'Next: make run, which builds it first' ;;
    main-app:LISTEN_ADDR=*) echo 'Next: choose another address, APP_ADDR=localhost:8081 make run' ;;
    log-sidecar:LISTEN_ADDR=*) echo 'Next: choose another address, SIDECAR_ADDR=localhost:9091 make run' ;;
    main-app:LOG_PATH=*) echo 'Next: choose a directory that you can write to, LOG_DIR=/tmp/log make run' ;;
  esac >&2
  exit 1
}

# started PROGRAM PID: wait until it says which address it listens on, and print it.
# The port alone proves nothing: it may be somebody else's.
started() {
  local address
  while :; do
    address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$work/$1.stderr" | head -n 1)
    [ -z "$address" ] || break
    alive "$2" || fail "$1"
    sleep 0.05
  done
  case $address in
    '[::]:'* | 0.0.0.0:* | 127.0.0.1:*) address=localhost:${address##*:} ;;
  esac
  echo "$address"
}

# Job control gives each program a process group of its own: Ctrl-C reaches this
# script alone, which then ends them in order, each with one signal.
set -m
LISTEN_ADDR=${APP_ADDR:-localhost:8080} LOG_PATH=$log_dir/access.log \
  SHUTDOWN_DELAY=${SHUTDOWN_DELAY:-0s} \
  bin/main-app 2>"$work/main-app.stderr" &
app=$!
set +m
app_addr=$(started main-app "$app")

set -m
LISTEN_ADDR=${SIDECAR_ADDR:-localhost:9090} LOG_PATH=$log_dir/access.log \
  STATE_DIR=$state_dir APP_HEALTH_URL=http://$app_addr/healthz \
  bin/log-sidecar 2>"$work/log-sidecar.stderr" &
sidecar=$!
set +m
sidecar_addr=$(started log-sidecar "$sidecar")

cat <<END
${green}✓${plain} main-app     http://$app_addr  appends to $log_dir/access.log
${green}✓${plain} log-sidecar  http://$sidecar_addr  follows it, and prints here  (/health, /metrics)

Now type in another terminal:   ${bold}curl $app_addr/api/users${plain}
Ctrl-C ends both. What log-sidecar prints:

END

while alive "$app" && alive "$sidecar"; do
  sleep 0.2
done
if alive "$app"; then fail log-sidecar; else fail main-app; fi
