#!/bin/sh
# Print the first Python that is new enough and can make an environment; PYTHON=… names one.
set -eu
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.14 python3.13 python3.12 python3.11 python
fi
for python in "$@"; do
    if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "$python"
        exit 0
    fi
done
echo "tinker_nb needs Python 3.11 or newer with its venv module (on Debian: python3-venv)," \
    "and none of these is one: $*. Name yours with: make PYTHON=/path/to/python" >&2
exit 1
