# What the cases of ../e2e.sh are written in.
# shellcheck shell=bash

REGISTRY=${REGISTRY:-} BUSYBOX=${BUSYBOX:-busybox:1.37} ROUNDS=${ROUNDS:-10}

# ── Pods ─────────────────────────────────────────────────────────────────────────

deploy() {
  case $variant in
    plain) manifests=(-f deploy/) ;;
    native) manifests=(-f deploy/service.yaml -f deploy/native-sidecar/) ;;
  esac
  if [ -z "$REGISTRY" ]; then
    kubectl apply "${manifests[@]}"
  elif [ "$variant" = plain ]; then
    make --no-print-directory deploy REGISTRY="$REGISTRY"
  else
    make --no-print-directory deploy-native REGISTRY="$REGISTRY"
  fi
}

# image_of NAME: as the Makefile names it.
image_of() { echo "${REGISTRY:+$REGISTRY/}$1:$(cat "$1/VERSION")"; }

pod_field() { kubectl get pod "$1" -o jsonpath="$2"; }

# container POD NAME FIELD: a field of a container's status, whichever list it is in.
container() {
  local which="[?(@.name=='$2')]$3"
  pod_field "$1" "{.status.containerStatuses$which}{.status.initContainerStatuses$which}"
}
container_spec() {
  pod_field "$1" "{.spec.containers[?(@.name=='$2')].image}{.spec.initContainers[?(@.name=='$2')].image}"
}

every_pod_is_ready() {
  kubectl get pods --no-headers >"$work/pods"
  [ "$(grep -c ' 2/2 ' "$work/pods")" = "$(count <"$work/pods")" ]
}

# A Pod that is ready and not about to go.
a_ready_pod() {
  local deleted ready
  deleted='{.metadata.deletionTimestamp}'
  ready='{.status.conditions[?(@.type=="Ready")].status}'
  kubectl get pods -o jsonpath="{range .items[*]}{.metadata.name} $ready$deleted{\"\n\"}{end}" | sed -n 's/ True$//p' | tail -n 1
}

# A line per container for each change of the Pod: name, and exit code, time and reason
# of its end. It becomes kubectl, so that who ends it ends kubectl.
watch_states() {
  local each='{{.name}} {{with .state.terminated}}{{.exitCode}} {{.finishedAt}} {{.reason}}{{end}}{{"\n"}}'
  exec kubectl get pod "$1" --watch -o go-template="{{range .status.containerStatuses}}$each{{end}}{{range .status.initContainerStatuses}}$each{{end}}"
}
last_state() { sed -n "s/^$1 //p" "$work/states" | tail -n 1; }

# said LOG MESSAGE: when a program said it, to the nanosecond.
said() { sed -n "s/^{\"time\":\"\([^\"]*\)\".*\"msg\":\"$2\".*/\1/p" "$work/$1" | tail -n 1; }

# All at once, for the kubelet reports a restart in steps.
sidecar_runs_again() {
  equal "$(container "$1" log-sidecar .restartCount) $(container "$1" log-sidecar .started) $(container "$1" log-sidecar .ready)" "1 true true"
}

sidecar_has_no_image() { [[ $(container "$1" log-sidecar .state.waiting.reason) = *Image* ]]; }

pod_runs_on() {
  equal "$(pod_field "$1" '{.status.phase}') $(container "$1" main-app .restartCount) $(container "$1" log-sidecar .restartCount)" "Running 0 1"
}

# It was told to end, and came to say neither that it had nor why not. The exit code
# is 137 then, where the kubelet still knows it: an init container that has ended may
# be removed when it is started again.
was_killed() {
  local code
  code=$(container "$1" log-sidecar .lastState.terminated.exitCode)
  equal "${code:-137}" 137 &&
    grep -q '"msg":"draining"' "$work/logs-before" &&
    ! grep -q '"msg":"\(stopped\|drain:\)' "$work/logs-before"
}

# In the states that were watched, because an init container that has ended may be
# removed, too; or in the last one, because the watch may have missed it.
was_out_of_memory() {
  grep -q '^log-sidecar 137 .* OOMKilled$' "$work/states" ||
    equal "$(container "$1" log-sidecar .lastState.terminated.reason)" OOMKilled
}

previous_was_draining() { kubectl logs "$1" -c log-sidecar --previous | grep '"msg":"draining"'; }

same_image_by_another_name() {
  local image
  image=$(container_spec "$1" log-sidecar)
  case $image in
    */*) container "$1" log-sidecar .imageID ;; # registry/name@sha256:...
    *) echo "docker.io/library/$image" ;;       # what a name without a registry means
  esac
}

no_pod_is_left() { [ -z "$(kubectl get pods -o name)" ]; }

equal() { [ "$1" = "$2" ] || { echo "got $1, want $2"; return 1; }; }
# Without the Z, because 12.5 comes before 12.51, but 12.5Z after 12.51Z.
in_order() { [ -n "$1" ] && [ -n "$2" ] && ! [[ ${1%Z} > ${2%Z} ]]; }

# ── Processes in the background: each writes into a file of its name ─────────────

# in_background NAME COMMAND...
in_background() {
  local name=$1
  shift
  : >"$work/$name" # here and now: who reads it next must not find an earlier round's
  "$@" >"$work/$name" 2>&1 &
  echo $! >"$work/$name.pid"
}

ended() { ! kill -0 "$(cat "$work/$1.pid")" 2>/dev/null; }

# port_of NAME [PORT]: the local port that kubectl says it listens on, for PORT.
port_of() {
  local says="(Forwarding from|Starting to serve on) 127\\.0\\.0\\.1:([0-9]+).*${2:-}\$"
  eventually 10 grep -qE "^$says" "$work/$1"
  sed -nE "s/^$says/\\2/p" "$work/$1" | head -n 1
}

end_background() {
  kill "$(cat "$work/$1.pid")" 2>/dev/null || true
  wait_for_background "$1" 10
}

# wait_for_background NAME SECONDS: it has to end by itself.
wait_for_background() {
  eventually "$2" ended "$1" || fail "$1 has not ended" "see the end of its output:" "$(tail -n 3 "$work/$1")"
  rm "$work/$1.pid"
}

# stays SECONDS COMMAND...: it holds for so long.
stays() {
  local deadline=$((SECONDS + $1))
  shift
  until [ "$SECONDS" -ge "$deadline" ]; do
    "$@" || return 1
    sleep 1
  done
  "$@"
}

# eventually SECONDS COMMAND...: try until it holds.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# ── What is printed ──────────────────────────────────────────────────────────────

bold='' green='' red='' plain=''
if [ -t 1 ]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
title() { printf '\n%s%s: %s%s  (%s s)\n' "$bold" "$variant" "$1" "$plain" "$SECONDS"; }
note() { printf '    %s\n' "$1"; }
skip() { # WHY
  note "skipped: $1"
  skipped+="${FUNCNAME[1]}: $1"$'\n'
}

# check WHAT COMMAND...: a tick when it holds.
check() {
  local what=$1 output
  shift
  output=$("$@" 2>&1) || fail "$what" "did not hold: $*" "$(tail -n 3 <<<"$output")"
  printf '  %s✓%s %s\n' "$green" "$plain" "$what"
}
fail() {
  printf '  %s✗ %s%s\n' "$red" "$1" "$plain"
  printf '%s\n' "$@" >"$work/failure"
  exit 1
}

# ── Start and end ────────────────────────────────────────────────────────────────

start() {
  namespace=app-with-sidecar-$variant-$RANDOM
  work=$(mktemp -d)
  # A configuration of its own whose default namespace is the test's, so that the
  # commands above are what a person would type.
  kubectl config view --raw --flatten --minify >"$work/kubeconfig"
  export KUBECONFIG=$work/kubeconfig
  kubectl config set-context --current --namespace="$namespace" >/dev/null
  kubectl create namespace "$namespace" >/dev/null
  kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
}

finish() {
  local status=130 file # ended from outside, where neither of these holds
  trap - EXIT ERR
  trap '' INT TERM HUP
  set +e
  if [ -n "$completed" ]; then status=0; elif [ -f "$work/failure" ]; then status=1; fi
  for file in "$work"/*.pid; do
    [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null
  done
  [ "$status" != 1 ] || show_what_is_wrong
  if [ "$status" = 1 ] && [ -n "${KEEP:-}" ]; then
    printf 'Kept: namespace %s, files %s. When done: kubectl delete namespace %s\n' "$namespace" "$work" "$namespace"
  else
    [ "$status" = 0 ] || printf 'Deleting namespace %s\n' "$namespace"
    kubectl delete namespace "$namespace" --timeout=90s >/dev/null
    rm -rf "$work"
  fi
  exit "$status"
}

show_what_is_wrong() {
  local pod name
  printf '\n%sWhat the cluster says%s\n' "$bold" "$plain"
  kubectl describe pods
  for pod in $(kubectl get pods -o name); do
    for name in main-app log-sidecar; do
      printf '\nThe last lines of %s, %s:\n' "$pod" "$name"
      kubectl logs "$pod" -c "$name" --tail=20
    done
  done
  printf '\n'
  kubectl get events --sort-by=.lastTimestamp | tail -n 30
  printf '\n'
  kubectl get pods -o wide | tee "$work/pods"
  printf '\n%s✗ %s failed%s\n' "$red" "$variant" "$plain"
  sed 's/^/  /' "$work/failure"
  if grep -q 'ImagePull\|ErrImage' "$work/pods"; then
    printf 'Next: the cluster has not got the images. make docker-build kind-load, or set REGISTRY.\n'
  elif [ -z "${KEEP:-}" ]; then
    printf 'Next: KEEP=1 deploy/e2e.sh %s leaves namespace and files to look into.\n' "$variant"
  fi
}

# run_variant NAME [CASE...]: in a namespace of its own, which is deleted at the end.
run_variant() (
  variant=$1 completed='' skipped=''
  shift
  start
  trap finish EXIT
  trap '[ $? = 130 ] || fail "line $LINENO: $BASH_COMMAND"' ERR
  for case in "${@:-cases}"; do
    "$case"
  done
  printf %s "$skipped" | sed 's/^/  skipped: /'
  completed=1
)

# run [VARIANT [CASE...]]
run() {
  local variants variant
  case ${1:-both} in
    plain | native) variants=$1 ;;
    both) variants='plain native' ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"; exit 2 ;;
  esac
  if ! kubectl version >/dev/null 2>&1; then
    echo "kubectl reaches no cluster. Next: kind create cluster, then make docker-build kind-load" >&2
    exit 1
  fi
  for variant in $variants; do
    run_variant "$variant" "${@:2}"
  done
  printf '\n%s✓ all cases hold for: %s, in %s s%s\n' "$green" "$variants" "$SECONDS" "$plain"
}
