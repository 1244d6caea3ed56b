#!/bin/sh
# Finds a Python that can make a virtual environment and hands over to bootstrap.py.
# usage: tools/bootstrap.sh requirements.txt [requirements-dev.txt]
set -eu
here=$(dirname "$0")
check='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
for python in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    if "$python" -c "$check" >/dev/null 2>&1; then
        exec "$python" "$here/bootstrap.py" "$@"
    fi
done
cat >&2 <<TEXT
No suitable Python was found (tried: ${PYTHON:-python3.13 python3.12 python3.11 python3 python}).
fleetlake needs Python 3.11, 3.12 or 3.13 with the standard venv and ensurepip modules
(on Debian and Ubuntu: apt-get install python3-venv).
If it is not on the PATH, name it: make PYTHON=/path/to/python3.12 demo
TEXT
exit 1
