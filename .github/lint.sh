#!/usr/bin/env bash
# make lint: checks the code, the scripts, the manifests, the workflows and the READMEs.
# Linters are pinned, and built by Go: nothing to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}

modules=(main-app log-sidecar)
scripts=(deploy/*.sh deploy/e2e/*.sh .github/*.sh .ci/run)
manifests=(deploy/*.yaml deploy/*/*.yaml)

# Left out on purpose. The first would break images that were loaded into the
# cluster; the others belong to the owner of the cluster, who knows what may talk to
# the Pod, how many may be away at a time, and where they should run.
kube_score_ignores=(container-image-pull-policy pod-networkpolicy
  deployment-has-poddisruptionbudget deployment-has-host-podantiaffinity)

title() { echo "== $*"; }
fail() { echo "$*" >&2; exit 1; }

code() {
  local module target files
  title gofmt
  files=$(gofmt -l "${modules[@]}" .github)
  [ -z "$files" ] || fail "gofmt -w $(tr '\n' ' ' <<<"$files")"
  for module in "${modules[@]}"; do
    for target in "$(go env GOOS)/$(go env GOARCH)" linux/arm64 darwin/arm64; do
      title "go vet: $module $target"
      (cd "$module" && GOOS=${target%/*} GOARCH=${target#*/} go vet ./...)
    done
    title "golangci-lint: $module"
    (cd "$module" && go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...)
  done
  go vet .github/testreport.go
}

shell() {
  if ! command -v shellcheck >/dev/null; then
    title "shellcheck: skipped, it is not installed"
    return
  fi
  title shellcheck
  # SC2317: older versions take what a trap calls for unreachable.
  shellcheck -x -e SC2317 "${scripts[@]}"
}

yaml() {
  local directory status file wrong
  title actionlint
  go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

  title kube-score
  for directory in deploy deploy/native-sidecar deploy/your-app; do # each by itself: they share names
    go run github.com/zegl/kube-score/cmd/kube-score@v1.20.0 score --output-format ci \
      "${kube_score_ignores[@]/#/--ignore-test=}" "$directory"/*.yaml >"$work/score" && status=0 || status=$?
    grep -v '^\[\(OK\|SKIPPED\)\]' "$work/score" || true
    [ "$status" = 0 ] || exit "$status"
  done

  if command -v promtool >/dev/null; then
    title promtool
    promtool check rules deploy/monitoring/alerts.yaml >"$work/rules" 2>&1 || fail "$(<"$work/rules")"
  else
    title "promtool: skipped, it is not installed"
  fi

  title "the manifests name the images of main-app/VERSION and log-sidecar/VERSION"
  for file in "${manifests[@]}"; do
    wrong=$(sed -nE 's/^ *(- )?image: *([^ ]*).*/\2/p' "$file" | grep -E '(^|/)(main-app|log-sidecar):' |
      grep -vx -e "main-app:$(<main-app/VERSION)" -e "log-sidecar:$(<log-sidecar/VERSION)") || continue
    fail "$file names $wrong"
  done

  title "the two Deployments differ only in what makes a native sidecar"
  diff <(printf '> %s\n' initContainers: 'restartPolicy: Always') \
    <(diff <(fields deploy/deployment.yaml) <(fields deploy/native-sidecar/deployment.yaml) |
      grep '^[<>]' | grep -v terminationGracePeriodSeconds)
}

# fields FILE: without comments, indentation and order.
fields() { sed -e 's/ *#.*//' -e 's/^ *//' -e '/^$/d' "$1" | sort; }

# Every test, file and make target that a README names is there.
# shellcheck disable=SC2016 # the backquotes are those of Markdown
readmes() {
  local readme name file
  for readme in README.md .github/CONTRIBUTING.md main-app/README.md log-sidecar/README.md; do
    [ -e "$readme" ] || continue
    title "what $readme names is there"
    for name in $(grep -oE '`(Test|Fuzz|Benchmark)[A-Za-z0-9]+`' "$readme" | tr -d '`' | sort -u); do
      grep -rqs "^func $name(" "${modules[@]}" || fail "$readme names $name"
    done
    for file in $(links "$readme"); do # relative to where they stand
      [ -e "$(dirname "$readme")/$file" ] || fail "$readme links to $file"
    done
    for file in $(grep -oE '(`|-f )(deploy|main-app|log-sidecar|\.github|\.ci)/[A-Za-z0-9._/-]+(`|$| )' "$readme" | sed 's/^-f//' | tr -d '` '); do
      [ -e "$file" ] || fail "$readme names $file"
    done
    for name in $(grep -oE '(^|`|=[^ ]+ )make [a-z0-9 -]+' "$readme" | sed 's/.*make //' | tr ' ' '\n' | sort -u); do
      grep -q "^$name:" Makefile || fail "$readme names make $name"
    done
  done
}

links() { grep -oE '\]\([^)]*\)' "$1" | sed -e 's/^](//' -e 's/[)#].*//' | grep -vE '^([a-z]+:|$)' || true; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
code
shell
yaml
readmes
