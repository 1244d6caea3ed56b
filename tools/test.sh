#!/bin/sh
# Runs the tests tier by tier, each in a process of its own: Airflow reads its settings once, at import.
# usage: tools/test.sh [tier …]   without a tier: all of them, and every one runs even if one before it failed
set -u
cd "$(dirname "$0")/.."
all="unit sandbox quality contract warehouse dags faults e2e"
for file in $(find tests -name 'test_*.py'); do
    tier=${file#tests/}
    case " $all " in
    *" ${tier%%/*} "*) ;;
    *) echo "$file is in no tier ($all): it would never run" >&2 && exit 2 ;;
    esac
done
failed=""
for tier in ${*:-$all}; do
    find "tests/$tier" -name 'test_*.py' | grep -q . || continue
    case $tier in
    unit | sandbox | quality | contract | warehouse) workers="-n 2" ;;
    faults) workers="-n 2 --dist loadfile" ;; # what a file sets up for its tests takes minutes
    *) workers="-n 0" ;;
    esac
    echo "== $tier"
    # shellcheck disable=SC2086 # options, not one word
    .venv/bin/pytest $workers "tests/$tier" || failed="$failed $tier"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2 && exit 1; }
