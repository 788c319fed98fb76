#!/usr/bin/env bash
# End-to-end test on a real cluster: the one that kubectl points at. It needs the two
# images there (`make docker-build kind-load`, or REGISTRY=), kubectl and curl.
#
# Both variants are deployed, each in a namespace of its own that enforces the Pod
# Security level "restricted", and each has to pass every case below. A case reads as
# what a person would type. Only the API server is used: no access to the nodes and no
# other image, so that it works the same on any cluster.
#
#   deploy/e2e.sh [plain | native | both [CASE...]]   (both, all cases; most need walk_through first)
#   REGISTRY=ghcr.io/me   where the images are pulled from
#   PORT=8080             local port of the walk-through     (a free one)
#   ROUNDS=10             Pods deleted under load, per variant
#   KEEP=1                after a failure, leave namespace and files to look into
set -eEuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C # one order for sort, comm and [[ > ]]

cases() {
  walk_through
  apply_again_changes_nothing
  if [ "$variant" = native ]; then app_waits_for_the_sidecar; fi
  pods_deleted_under_load
  rolling_restart_under_load
  sidecar_killed_under_load
  if [ "$variant" = native ]; then cost_under_load; fi
  if [ "$variant" = plain ]; then full_log_caught_up; fi
  undeploy
  if [ "$variant" = native ]; then your_own_app; fi
}

# ── The cases ────────────────────────────────────────────────────────────────────

# What a newcomer types, and sees.
walk_through() {
  title "Deploy, send two requests, find them in the sidecar's output"

  deploy
  kubectl rollout status deployment/app-with-sidecar --timeout=2m
  check "every Pod is 2/2" every_pod_is_ready

  in_background port-forward make port-forward PORT="${PORT:-}"
  local url
  url=http://localhost:$(port_of port-forward)
  curl -sS --fail "$url/"
  curl -sS --fail "$url/api/users"
  end_background port-forward

  # With two Pods, `kubectl logs deploy/...` may ask the one that did not get them.
  in_background logs make logs
  check "the sidecars print exactly these two requests, as records" eventually 10 two_records
  end_background logs
  kubectl logs deploy/app-with-sidecar -c log-sidecar

  in_background port-forward kubectl port-forward deploy/app-with-sidecar :9090
  curl -sS --fail "http://localhost:$(port_of port-forward)/health" | tee "$work/health"
  end_background port-forward
  check "/health says that both are healthy" grep -q '^{"status":"healthy",.*"app":"healthy","file":"open"' "$work/health"
}

two_records() {
  only_records <"$work/logs" >"$work/records"
  [ "$(count <"$work/records")" = 2 ] && is_record / && is_record /api/users
}

is_record() {
  local time='"20[0-9-]*T[0-9:]*Z"' pod='"app-with-sidecar-[a-z0-9-]*"'
  grep -qx "{\"raw\":{\"timestamp\":$time,\"method\":\"GET\",\"path\":\"$1\",\"status\":200},\"host\":$pod,\"processed_at\":$time,\"namespace\":\"$namespace\",\"pod\":$pod}" "$work/records"
}

# The files are what the API server makes of them: nothing is defaulted away, nothing
# is warned about, and a second apply is a no-op.
apply_again_changes_nothing() {
  title "Apply the same files again"
  if [ -n "$REGISTRY" ]; then note "skipped: REGISTRY changes the image names"; return; fi
  check "kubectl diff finds nothing" kubectl diff "${manifests[@]}"
  check "kubectl apply --dry-run=server changes nothing" nothing_to_apply
}

nothing_to_apply() {
  kubectl apply --dry-run=server --warnings-as-errors "${manifests[@]}" >"$work/applied"
  ! grep -v ' unchanged (server dry run)$' "$work/applied"
}

# A native sidecar is an init container that runs on; the app starts after its
# startupProbe has passed. The proof is a probe that cannot pass.
app_waits_for_the_sidecar() {
  title "The app starts only after the sidecar's startupProbe"
  local pod
  pod=$(a_ready_pod)
  check "$pod lists log-sidecar as an init container, running and started" \
    equal "$(pod_field "$pod" '{.status.initContainerStatuses[0].name} {.status.initContainerStatuses[0].started}')" "log-sidecar true"
  note "log-sidecar started at $(container "$pod" log-sidecar .state.running.startedAt), main-app at $(container "$pod" main-app .state.running.startedAt)"

  kubectl patch deployment/app-with-sidecar --patch '{"spec": {"template": {"spec": {"initContainers": [
    {"name": "log-sidecar", "startupProbe": {"httpGet": {"path": "/not-there"}}}]}}}}'
  eventually 30 a_startup_probe_has_failed
  pod=$(cat "$work/unstarted-pod")
  check "with a startupProbe that fails, log-sidecar runs and main-app waits" \
    equal "$(container "$pod" log-sidecar .state.running.startedAt | cut -c1-2) $(container "$pod" main-app .state.waiting.reason)" "20 PodInitializing"

  kubectl rollout undo deployment/app-with-sidecar
  kubectl rollout status deployment/app-with-sidecar --timeout=2m
  kubectl wait --for=delete "pod/$pod" --timeout=60s
}

a_startup_probe_has_failed() {
  kubectl get events --field-selector reason=Unhealthy \
    -o jsonpath='{range .items[*]}{.involvedObject.name} {.message}{"\n"}{end}' |
    sed -n 's/ Startup probe failed.* 404.*//p' | head -n 1 >"$work/unstarted-pod"
  [ -s "$work/unstarted-pod" ]
}

# Whoever got an answer finds the line. In the plain variant both containers get
# SIGTERM at once, in any order; in the native one the sidecar gets it after the app.
pods_deleted_under_load() {
  title "Delete a Pod under load, $ROUNDS times"
  local round
  for round in $(seq "$ROUNDS"); do
    one_pod_deleted_under_load "$round"
  done
}

one_pod_deleted_under_load() {
  local round=$1 pod begin took
  pod=$(a_ready_pod)
  in_background logs kubectl logs -f "$pod" -c log-sidecar
  in_background app-logs kubectl logs -f "$pod" -c main-app
  in_background states watch_states "$pod"
  in_background port-forward kubectl port-forward "pod/$pod" :8080
  load "delete-$round" "http://localhost:$(port_of port-forward)"
  await_answers 200

  begin=$SECONDS
  kubectl delete "pod/$pod" --timeout=60s >/dev/null
  took=$((SECONDS - begin))
  wait_for_background load 30 # it ends with the first request that fails: the app is gone
  wait_for_background logs 30
  wait_for_background app-logs 30
  end_background states
  end_background port-forward

  records_of "delete-$round" "$work/logs" >"$work/shown"
  check "round $round: $(summary), gone after $took s" each_answer_is_shown_once
  check_end_of "$pod"
  kubectl rollout status deployment/app-with-sidecar --timeout=2m >/dev/null
}

# Both have ended well; and a native sidecar after the app. The times of a Pod's status
# have whole seconds, so the two programs' own messages have to tell as well.
check_end_of() {
  local app sidecar app_stopped sidecar_told
  app=$(last_state main-app) sidecar=$(last_state log-sidecar)
  check "  main-app and log-sidecar exit with 0" equal "${app%% *} ${sidecar%% *}" "0 0"
  if [ "$variant" = plain ]; then return; fi
  check "  Pod status: main-app ended at ${app#* }, log-sidecar at ${sidecar#* }" in_order "${app#* }" "${sidecar#* }"
  app_stopped=$(said app-logs stopped) sidecar_told=$(said logs draining)
  check "  main-app's last message at ${app_stopped#*T}, log-sidecar got SIGTERM at ${sidecar_told#*T}" in_order "$app_stopped" "$sidecar_told"
}

# Every Pod is replaced while requests come in through the Service. The API server's
# own proxy reaches it on any cluster, and needs no client in it.
rolling_restart_under_load() {
  title "Restart all Pods under load through the Service"
  local old pod begin took
  old=$(kubectl get pods -o name)
  for pod in $old; do
    in_background "logs-${pod#pod/}" kubectl logs -f "$pod" -c log-sidecar
  done
  in_background proxy kubectl proxy --port=0
  load restart "http://localhost:$(port_of proxy)/api/v1/namespaces/$namespace/services/app-with-sidecar:http/proxy"
  await_answers 100

  begin=$SECONDS
  kubectl rollout restart deployment/app-with-sidecar
  kubectl rollout status deployment/app-with-sidecar --timeout=2m >/dev/null
  # shellcheck disable=SC2086 # one word per Pod
  kubectl wait --for=delete $old --timeout=60s >/dev/null
  took=$((SECONDS - begin))
  end_background load
  end_background proxy
  for pod in $old; do
    wait_for_background "logs-${pod#pod/}" 30
  done

  check "no request failed in the $took s of the restart" equal "$(failed_requests)" 0
  eventually 10 all_pods_show_each_answer_once || true
  check "$(summary)" each_answer_is_shown_once
}

all_pods_show_each_answer_once() {
  kubectl logs -l app.kubernetes.io/name=app-with-sidecar -c log-sidecar --tail=-1 >"$work/logs"
  records_of restart "$work"/logs "$work"/logs-app-with-sidecar-* >"$work/shown"
  each_answer_is_shown_once
}

# The kubelet kills the sidecar while the app is under load: it starts it again, the
# app runs on, and the sidecar goes on from its positions.
#
# There is no shell in the images and no access to the node, but the API allows to
# change the image of a container that runs: the kubelet then restarts this one alone.
# The "new" image is the same one by another name. With a grace period of 1 s, and an
# app that is alive so that the sidecar cannot finish its drain, what ends the sidecar
# is SIGKILL: exit code 137.
sidecar_killed_under_load() {
  title "Kill the sidecar under load"
  local pod
  kubectl patch deployment/app-with-sidecar --patch '{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}'
  kubectl rollout status deployment/app-with-sidecar --timeout=2m >/dev/null
  pod=$(a_ready_pod)
  in_background logs-before kubectl logs -f "$pod" -c log-sidecar
  in_background port-forward kubectl port-forward "pod/$pod" :8080
  load kill "http://localhost:$(port_of port-forward)"
  await_answers 200

  kubectl set image "pod/$pod" "log-sidecar=$(same_image_by_another_name "$pod")"
  check "log-sidecar was restarted once, and runs" eventually 60 sidecar_runs_again "$pod"
  wait_for_background logs-before 30
  check "what ended its first life was SIGKILL" was_killed "$pod"
  if [ "$variant" = plain ]; then # the kubelet may remove an init container that has ended
    check "kubectl logs --previous shows its last messages" previous_was_draining "$pod"
  fi
  await_answers "$(($(answered | count) + 200))"
  end_background load
  end_background port-forward

  check "main-app was not restarted, and no request failed" \
    equal "$(container "$pod" main-app .restartCount) $(failed_requests)" "0 0"
  eventually 10 both_lives_show_each_answer "$pod" || true
  records_of kill "$work/logs-before" "$work/logs" >"$work/shown"
  check "both lives together: $(summary)" each_answer_is_shown
  check "what was printed twice is the batch that was being written" twice_is_one_batch
}

# The app fills its log while there is no sidecar, whose image is one that is not there.
# Caught up in seconds, that is 400 MB of records on the node's disk by the time the kubelet
# looks, every 10 s, and rotates them. Above the limit of ephemeral storage it evicts the
# Pod, unread lines and all. (It asks that of ordinary containers; a native sidecar counts
# only into the sum of the Pod.)
#
# Lines of 12 KB fill the log soon, and a long EXTRA_FIELDS makes their records 3.3 times
# as long, as those of common lines are.
full_log_caught_up() {
  title "Catch up on a full log"
  local pod image lines=10500 path begin
  kubectl set env deployment/app-with-sidecar -c log-sidecar DRAIN_TIMEOUT=0s \
    "EXTRA_FIELDS=padding=$(printf '.%.0s' {1..28000})"
  kubectl rollout status deployment/app-with-sidecar --timeout=2m >/dev/null
  pod=$(a_ready_pod)
  image=$(container_spec "$pod" log-sidecar)
  kubectl set image "pod/$pod" "log-sidecar=$image-not-there"
  check "the sidecar is away" eventually 30 sidecar_has_no_image "$pod"

  in_background port-forward kubectl port-forward "pod/$pod" :8080
  path=$(printf '%%01%.0s' {1..2040}) # in the log six bytes each: \u0001
  curl --no-progress-meter --parallel --parallel-max 16 --output /dev/null --write-out '%{http_code}\n' \
    "http://localhost:$(port_of port-forward)/${path}[1-$lines]" >"$work/statuses"
  end_background port-forward
  check "main-app has logged $lines lines of 12 KB: 96 % of what it keeps" \
    equal "$(grep -c '^200$' "$work/statuses")" "$lines"

  begin=$SECONDS
  kubectl set image "pod/$pod" "log-sidecar=$image"
  check "the sidecar is back" eventually 30 sidecar_runs_again "$pod"
  in_background port-forward kubectl port-forward "pod/$pod" :9090
  check "the sidecar has printed all of them" eventually 60 lines_printed "http://localhost:$(port_of port-forward)/metrics" "$lines"
  end_background port-forward
  check "when the kubelet has looked twice, the Pod is as it was" stays $((begin + 25 - SECONDS)) pod_runs_on "$pod"
}

sidecar_has_no_image() { [[ $(container "$1" log-sidecar .state.waiting.reason) = *Image* ]]; }
lines_printed() { # URL LINES
  curl -sS --fail "$1" >"$work/metrics"
  equal "$(sed -nE 's/^log_sidecar_(lines_total|lag_bytes) //p' "$work/metrics" | tr '\n' ' ')" "$2 0 "
}
pod_runs_on() {
  equal "$(pod_field "$1" '{.status.phase}') $(container "$1" main-app .restartCount) $(container "$1" log-sidecar .restartCount)" "Running 0 1"
}

# As many requests as 16 clients get answered through a port-forward for half a minute;
# what the kubelet says that both containers have taken meanwhile.
cost_under_load() {
  title "What it costs under load"
  pod=$(a_ready_pod)
  if ! figures >/dev/null; then note "skipped: the kubelet's figures may not be read"; return; fi
  in_background port-forward kubectl port-forward "pod/$pod" :8080 :9090
  local url metrics
  url=http://localhost:$(port_of port-forward 8080)
  metrics=http://localhost:$(port_of port-forward 9090)/metrics
  in_background load curl --silent --parallel --parallel-max 16 --output /dev/null "$url/[1-10000000]"
  eventually 60 figures_since 0 || fail "the kubelet has figures of both"
  figures_of_now "$metrics" >"$work/before"
  eventually 60 figures_since $(($(newest <"$work/before") + 30000)) || fail "the kubelet takes new figures within 60 s"
  figures_of_now "$metrics" >"$work/after"
  end_background load
  end_background port-forward
  note "$(lines_per_second) requests/s, each a line"
  note "main-app: $(cost main-app)"
  note "log-sidecar: $(cost log-sidecar)"
}

# What the kubelet knows of both containers: a figure, and when it was taken, in ms
# since 1970. It looks at intervals of some seconds.
figures() {
  kubectl get --raw "/api/v1/nodes/$(pod_field "$pod" '{.spec.nodeName}')/proxy/metrics/resource" |
    sed -nE "s/^container_(cpu_usage_seconds_total|memory_working_set_bytes)\{container=\"(main-app|log-sidecar)\",namespace=\"$namespace\",pod=\"$pod\"\}/\2 \1/p"
}
figures_of_now() {
  figures
  printf 'lines %s %s000\n' "$(curl -sS --fail "$1" | sed -n 's/^log_sidecar_lines_total //p')" "$(date +%s)"
}
newest() { grep -v '^lines' | awk '$4 > t { t = $4 } END { printf "%.0f", t }'; }
figures_since() { [ "$(figures | count)" = 4 ] && [ "$(figures | newest)" -gt "$1" ]; }

lines_per_second() {
  awk '/^lines/ && !n { n = $2; t = $3; next } /^lines/ { printf "%d", ($2 - n) / ($3 - t) * 1000 }' "$work/before" "$work/after"
}
cost() {
  awk -v name="$1" '
    $1 == name && $2 ~ /^cpu/ && !t { cpu = $3; t = $4; next }
    $1 == name && $2 ~ /^cpu/ { printf "%dm of a CPU", ($3 - cpu) / ($4 - t) * 1000000 }
    $1 == name && $2 ~ /^memory/ { memory = $3 }
    END { printf ", working set %.1f MiB", memory / 1048576 }' "$work/before" "$work/after"
}

# Nothing of it stays.
undeploy() {
  title "Delete it"
  make --no-print-directory undeploy
  check "no Pod is left" eventually 60 no_pod_is_left
}

# The Pod for those who have an app. Theirs is played by main-app.
your_own_app() {
  title "Your own app beside the sidecar: deploy/your-app/pod.yaml"
  sed -e "s|image: my-app:.*|image: $(image_of main-app)|" -e "s|image: log-sidecar:.*|image: $(image_of log-sidecar)|" \
    deploy/your-app/pod.yaml | kubectl apply -f -
  kubectl wait --for=condition=Ready pod/my-app --timeout=2m
  in_background port-forward kubectl port-forward pod/my-app :8080
  curl -sS --fail "http://localhost:$(port_of port-forward)/of/your/own"
  end_background port-forward
  check "the sidecar prints it, with namespace and Pod" eventually 10 grep_logs my-app \
    "^{\"raw\":{.*\"path\":\"/of/your/own\",\"status\":200},\"host\":\"my-app\",.*,\"namespace\":\"$namespace\",\"pod\":\"my-app\"}$"
  kubectl delete pod/my-app
}

# image_of NAME: as the Makefile names it.
image_of() { echo "${REGISTRY:+$REGISTRY/}$1:$(cat "$1/VERSION")"; }

grep_logs() { kubectl logs "$1" -c log-sidecar | grep -q "$2"; }

no_pod_is_left() { [ -z "$(kubectl get pods -o name)" ]; }

# All at once, for the kubelet reports a restart in steps.
sidecar_runs_again() {
  equal "$(container "$1" log-sidecar .restartCount) $(container "$1" log-sidecar .started) $(container "$1" log-sidecar .ready)" "1 true true"
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

previous_was_draining() { kubectl logs "$1" -c log-sidecar --previous | grep '"msg":"draining"'; }

both_lives_show_each_answer() {
  kubectl logs "$1" -c log-sidecar >"$work/logs"
  records_of kill "$work/logs-before" "$work/logs" >"$work/shown"
  each_answer_is_shown
}

same_image_by_another_name() {
  local image
  image=$(container_spec "$1" log-sidecar)
  case $image in
    */*) container "$1" log-sidecar .imageID ;; # registry/name@sha256:...
    *) echo "docker.io/library/$image" ;;       # what a name without a registry means
  esac
}

# ── Load, and what became of it ──────────────────────────────────────────────────

# load NAME URL: request /load/NAME/1, /load/NAME/2, ... one after the other until one
# gets no answer. Written down are status and URL, unbuffered on stderr. A curl that is
# ended may be in the middle of its last line, which is why only whole ones count.
load() {
  load_name=$1
  in_background load curl --silent --fail-early --max-time 10 --output /dev/null \
    --write-out '%{stderr}%{http_code} %{url_effective}\n' "$2/load/$1/[1-100000]"
}

# The paths that were answered with 200; those that the sidecar has shown.
results() { head -n "$(count <"$work/load")" "$work/load"; }
answered() { results | sed -n "s|^200 .*\(/load/$load_name/[0-9]*\)$|\1|p"; }
answered_at_least() { [ "$(answered | count)" -ge "$1" ]; }
await_answers() {
  eventually 20 answered_at_least "$1" ||
    fail "$1 requests are answered within 20 s" "the load has ended with:" "$(tail -n 3 "$work/load")" "$(cat "$work"/port-forward "$work"/proxy 2>/dev/null | tail -n 3)"
}
failed_requests() { results | grep -vc '^200 ' || true; }
only_records() { grep '^{"raw":' || true; }
records_of() { # NAME FILE...
  local name=$1
  shift
  sed -n "s|^{\"raw\":{.*\"path\":\"\(/load/$name/[0-9]*\)\".*|\1|p" "$@"
}

lost() { comm -23 <(answered | sort) <(sort -u "$work/shown"); }
twice() { sort "$work/shown" | uniq -d; }
count() { wc -l | tr -d ' '; }
summary() { echo "$(answered | count) requests answered, $(lost | count) lost, $(twice | count) shown twice"; }
each_answer_is_shown() { none lost; }
each_answer_is_shown_once() { none lost && none twice; }
none() {
  "$1" >"$work/$1"
  [ ! -s "$work/$1" ] || { echo "- $1: $(head -n 5 "$work/$1" | tr '\n' ' ')"; return 1; }
}

# Twice is a run of lines that ends the first life and begins the second, no more.
twice_is_one_batch() {
  local n
  n=$(twice | count)
  [ "$n" -eq 0 ] || cmp -s \
    <(records_of kill "$work/logs-before" | tail -n "$n") <(records_of kill "$work/logs" | head -n "$n")
}

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

# A line per container for each change of the Pod: name, exit code, time of its end.
# It becomes kubectl, so that who ends it ends kubectl.
watch_states() {
  local each='{{.name}} {{with .state.terminated}}{{.exitCode}} {{.finishedAt}}{{end}}{{"\n"}}'
  exec kubectl get pod "$1" --watch -o go-template="{{range .status.containerStatuses}}$each{{end}}{{range .status.initContainerStatuses}}$each{{end}}"
}
last_state() { sed -n "s/^$1 //p" "$work/states" | tail -n 1; }

# said LOG MESSAGE: when a program said it, to the nanosecond.
said() { sed -n "s/^{\"time\":\"\([^\"]*\)\".*\"msg\":\"$2\".*/\1/p" "$work/$1" | tail -n 1; }

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

# run_variant NAME: all cases in a namespace of their own, which is deleted at the end.
run_variant() (
  variant=$1 completed=''
  start
  trap finish EXIT
  trap '[ $? = 130 ] || fail "line $LINENO: $BASH_COMMAND"' ERR
  for case in $selected; do
    "$case"
  done
  completed=1
)

REGISTRY=${REGISTRY:-}
ROUNDS=${ROUNDS:-10}
case ${1:-both} in
  plain | native) variants=$1 ;;
  both) variants='plain native' ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"; exit 2 ;;
esac
selected=${*:2}
selected=${selected:-cases}
if ! kubectl version >/dev/null 2>&1; then
  echo "kubectl reaches no cluster. Next: kind create cluster, then make docker-build kind-load" >&2
  exit 1
fi
for v in $variants; do
  run_variant "$v"
done
printf '\n%s✓ all cases hold for: %s, in %s s%s\n' "$green" "$variants" "$SECONDS" "$plain"
