# cost_under_load, a case of ../e2e.sh that measures.
# shellcheck shell=bash disable=SC2154 # work and the like are set by harness.sh

# As many requests as 16 clients get answered through a port-forward for half a minute;
# what the kubelet says that both containers have taken meanwhile.
cost_under_load() {
  title "What it costs under load"
  pod=$(a_ready_pod)
  if ! figures >/dev/null; then skip "the kubelet's figures may not be read"; return; fi
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
