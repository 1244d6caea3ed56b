#!/bin/sh
# Compiles requirements*.in into exact pins that hold on every supported Python.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
        --custom-compile-command 'make lock' "$@"
}
compile requirements.in -o requirements.txt
# The project itself, last: its command and its Airflow entry points come from the checkout.
printf '%s\n' '-e .' >>requirements.txt
sed '/^-e /d' requirements.txt >.venv/runtime-pins.txt
compile requirements-dev.in -c .venv/runtime-pins.txt -o requirements-dev.txt
# A peer, for `make compare` only.
compile requirements-peers.in -o requirements-peers.txt
