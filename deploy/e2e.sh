#!/usr/bin/env bash
# End-to-end test on a real cluster: the one that kubectl points at. It needs the two
# images there (`make docker-build kind-load`, or REGISTRY=), kubectl and curl.
#
# Both variants are deployed, each in a namespace of its own that enforces the Pod
# Security level "restricted", and each has to pass every case below. A case reads as
# what a person would type; the words it is written in are in e2e/. Only the API
# server is used, no access to the nodes, so that it works the same on any cluster.
#
#   deploy/e2e.sh [plain | native | both [CASE...]]   (both, all cases; most need walk_through first)
#   REGISTRY=ghcr.io/me    where the images are pulled from
#   BUSYBOX=busybox:1.37   an image with a shell, in which a batch app is played
#   PORT=8080              local port of the walk-through     (a free one)
#   ROUNDS=10              Pods deleted under load, per variant
#   KEEP=1                 after a failure, leave namespace and files to look into
set -eEuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C # one order for sort, comm and [[ > ]]
. deploy/e2e/harness.sh
. deploy/e2e/load.sh
. deploy/e2e/cost.sh

cases() {
  walk_through
  apply_again_changes_nothing
  if [ "$variant" = native ]; then app_waits_for_the_sidecar; fi
  pods_deleted_under_load
  rolling_restart_under_load
  sidecar_killed_under_load
  if [ "$variant" = plain ]; then full_log_caught_up; fi
  if [ "$variant" = native ]; then cost_under_load; fi
  if [ "$variant" = native ]; then sidecar_out_of_memory_under_load; fi
  undeploy
  if [ "$variant" = native ]; then your_own_app; fi
  if [ "$variant" = native ]; then your_own_job; fi
}

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
  if [ -n "$REGISTRY" ]; then skip "REGISTRY changes the image names"; return; fi
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
  local app app_ended sidecar sidecar_ended app_stopped sidecar_told
  read -r app app_ended _ <<<"$(last_state main-app)"
  read -r sidecar sidecar_ended _ <<<"$(last_state log-sidecar)"
  check "  main-app and log-sidecar exit with 0" equal "$app $sidecar" "0 0"
  if [ "$variant" = plain ]; then return; fi
  check "  Pod status: main-app ended at $app_ended, log-sidecar at $sidecar_ended" in_order "$app_ended" "$sidecar_ended"
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
  load_of_two_lives "$pod"

  kubectl set image "pod/$pod" "log-sidecar=$(same_image_by_another_name "$pod")"
  check "log-sidecar was restarted once, and runs" eventually 60 sidecar_runs_again "$pod"
  wait_for_background logs-before 30
  check "what ended its first life was SIGKILL" was_killed "$pod"
  if [ "$variant" = plain ]; then # the kubelet may remove an init container that has ended
    check "kubectl logs --previous shows its last messages" previous_was_draining "$pod"
  fi
  check_both_lives "$pod"
}

# The kernel kills the sidecar while the app is under load. It takes a sidecar that frees
# no memory, and somebody who asks for its metrics over and over: a line costs none.
sidecar_out_of_memory_under_load() {
  title "Let the sidecar run out of memory under load"
  local pod
  kubectl rollout pause deployment/app-with-sidecar
  kubectl set env deployment/app-with-sidecar -c log-sidecar GOGC=off GOMEMLIMIT=off
  kubectl set resources deployment/app-with-sidecar -c log-sidecar --requests=memory=16Mi --limits=memory=16Mi
  kubectl rollout resume deployment/app-with-sidecar
  kubectl rollout status deployment/app-with-sidecar --timeout=2m >/dev/null
  pod=$(a_ready_pod)
  in_background states watch_states "$pod"
  load_of_two_lives "$pod"

  in_background metrics kubectl port-forward "pod/$pod" :9090
  # A new connection each: curl asks again where one that it has used before breaks, and so
  # would go on with the next life.
  in_background scrape curl --silent --fail-early --max-time 10 --header 'Connection: close' --output /dev/null "http://localhost:$(port_of metrics)/metrics?[1-100000]"
  wait_for_background scrape 120
  end_background metrics
  check "log-sidecar was restarted once, and runs" eventually 60 sidecar_runs_again "$pod"
  wait_for_background logs-before 30
  check "what ended its first life was the kernel: OOMKilled" eventually 10 was_out_of_memory "$pod"
  end_background states
  check_both_lives "$pod"
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

lines_printed() { # URL LINES
  curl -sS --fail "$1" >"$work/metrics"
  equal "$(sed -nE 's/^log_sidecar_(lines_total|lag_bytes) //p' "$work/metrics" | tr '\n' ' ')" "$2 0 "
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
  kubectl set image --local -o yaml -f deploy/your-app/pod.yaml \
    my-app="$(image_of main-app)" log-sidecar="$(image_of log-sidecar)" | kubectl apply -f -
  kubectl wait --for=condition=Ready pod/my-app --timeout=2m
  in_background port-forward kubectl port-forward pod/my-app :8080
  curl -sS --fail "http://localhost:$(port_of port-forward)/of/your/own"
  end_background port-forward
  check "the sidecar prints it, with namespace and Pod" eventually 10 grep_logs my-app \
    "^{\"raw\":{.*\"path\":\"/of/your/own\",\"status\":200},\"host\":\"my-app\",.*,\"namespace\":\"$namespace\",\"pod\":\"my-app\"}$"
  kubectl delete pod/my-app
}

grep_logs() { kubectl logs "$1" -c log-sidecar | grep -q "$2"; }

# The Job for those who have a batch app. Theirs is played by a shell, and badly: the last
# line has no newline, and the exit code is 3.
your_own_job() {
  title "Your own batch app beside the sidecar: deploy/your-app/job.yaml"
  local pod script
  # shellcheck disable=SC2016 # the shell in the container is to expand it
  script='{ for i in $(seq 5000); do echo "line $i"; done; printf "cut off"; } >>/var/log/app/batch.log; exit 3'
  kubectl set image --local -o yaml -f deploy/your-app/job.yaml my-batch="$BUSYBOX" log-sidecar="$(image_of log-sidecar)" |
    kubectl patch --local -o yaml -f - --patch "spec: {template: {spec: {containers: [{name: my-batch, command: [sh, -c, '$script']}]}}}" |
    kubectl apply -f -
  eventually 120 job_is_over || true
  if job_has_no_image; then
    skip "the cluster cannot pull $BUSYBOX"
    kubectl delete job/my-batch
    return
  fi
  pod=$(kubectl get pods -l batch.kubernetes.io/job-name=my-batch -o jsonpath='{.items[0].metadata.name}')
  check "the app exits with 3, so the Job has failed" equal "$(container "$pod" my-batch .state.terminated.exitCode) $(job_condition)" "3 Failed"
  check "log-sidecar exits with 0" equal "$(container "$pod" log-sidecar .state.terminated.exitCode)" 0
  kubectl logs "$pod" -c log-sidecar >"$work/logs"
  check "it has printed 5,000 lines and the one that is cut off, each once, in order" \
    diff <(sed -n 's/^{"raw":"\([^"]*\)".*/\1/p' "$work/logs") <(seq -f 'line %.0f' 5000; echo 'cut off')
  kubectl delete job/my-batch
}

job_is_over() { [ "$(job_condition)" = Failed ] || job_has_no_image; }
job_condition() { kubectl get job/my-batch -o jsonpath='{.status.conditions[?(@.type=="Failed")].type}'; }
job_has_no_image() {
  [[ $(kubectl get pods -l batch.kubernetes.io/job-name=my-batch -o jsonpath='{.items[*].status.containerStatuses[*].state.waiting.reason}') = *Image* ]]
}

run "$@"
