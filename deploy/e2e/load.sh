# Load for the cases of ../e2e.sh, and what became of it.
# shellcheck shell=bash disable=SC2154 # work and the like are set by harness.sh

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

# Twice is a run of lines that ends the first life and begins the second, and no more
# than are read at a time: 32 KiB, some 370 lines.
twice_is_one_batch() {
  local n
  n=$(twice | count)
  [ "$n" -le 370 ] || { echo "$n lines are more than a batch"; return 1; }
  [ "$n" -eq 0 ] || cmp -s \
    <(records_of kill "$work/logs-before" | tail -n "$n") <(records_of kill "$work/logs" | head -n "$n")
}

all_pods_show_each_answer_once() {
  kubectl logs -l app.kubernetes.io/name=app-with-sidecar -c log-sidecar --tail=-1 >"$work/logs"
  records_of restart "$work"/logs "$work"/logs-app-with-sidecar-* >"$work/shown"
  each_answer_is_shown_once
}

# load_of_two_lives POD: the load, and what the sidecar prints until it is killed.
load_of_two_lives() {
  in_background logs-before kubectl logs -f "$1" -c log-sidecar
  in_background port-forward kubectl port-forward "pod/$1" :8080
  load kill "http://localhost:$(port_of port-forward)"
  await_answers 200
}

check_both_lives() {
  await_answers "$(($(answered | count) + 200))"
  end_background load
  end_background port-forward
  check "main-app was not restarted, and no request failed" \
    equal "$(container "$1" main-app .restartCount) $(failed_requests)" "0 0"
  eventually 10 both_lives_show_each_answer "$1" || true
  check "both lives together: $(summary)" each_answer_is_shown
  check "what was printed twice is the batch that was being written" twice_is_one_batch
}

both_lives_show_each_answer() {
  kubectl logs "$1" -c log-sidecar >"$work/logs"
  records_of kill "$work/logs-before" "$work/logs" >"$work/shown"
  each_answer_is_shown
}
