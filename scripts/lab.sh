#!/bin/sh
# Open a notebook in the JupyterLab of .venv, without its questions about news and updates.
set -eu
cd "$(dirname "$0")/.."
settings=.venv/share/jupyter/lab/settings
mkdir -p "$settings"
cat > "$settings/overrides.json" <<'JSON'
{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
JSON
root=
[ "$(id -u)" -ne 0 ] || root=--allow-root
exec .venv/bin/python -m jupyterlab $root "$@"
