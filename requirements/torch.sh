#!/bin/sh
# Torch for this environment. Not in the lock: its CPU build lies beside the package index, in a folder that pip was
# told about (find-links) or on torch's own index, and a lock that names either fails wherever it is not.
# GPU machines: TORCH_BACKEND=auto.
set -eu
torch=torch==2.13.0
links=${UV_FIND_LINKS:-$(python3 -m pip config get global.find-links 2>/dev/null || printf %s "${PIP_FIND_LINKS:-}")}
if [ -n "$links" ] && ls "$links"/torch-* >/dev/null 2>&1; then
    exec .venv/bin/uv pip install -q --no-deps --find-links "$links" "$torch"
fi
exec env UV_TORCH_BACKEND="${TORCH_BACKEND:-cpu}" .venv/bin/uv pip install -q --no-deps "$torch"
