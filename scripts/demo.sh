#!/usr/bin/env bash
# The demo of `make demo`: trains on the built-in pictures, evaluates, classifies a few held-out ones.
#
#     scripts/demo.sh WEIGHTS [OPTION | FIELD=VALUE]...
set -euo pipefail
cd "$(dirname "$0")/.."
weights=$1
shift

number=1
while [ -e "runs/demo-$number" ]; do number=$((number + 1)); done
run=runs/demo-$number

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

step paretina train clipart --weights "$weights" --output "$run" "$@"
step paretina evaluate "$run/model.safetensors" clipart
step python scripts/export_pictures.py clipart "$run/held-out" --count 6
step paretina predict "$run/model.safetensors" "$run/held-out"
printf '\nThe report, for your browser: %s\n' "$run/report.html"
