#!/bin/sh
# Make .venv with the pinned dependencies and fitrl itself. Safe to run again.
set -eu
cd "$(dirname "$0")"
if ! python3 -m uv --version >/dev/null 2>&1; then
    python3 -m pip install --quiet uv
fi
python3 -m uv venv --quiet --allow-existing .venv
python3 -m uv pip sync --quiet --python .venv --require-hashes requirements.lock
python3 -m uv pip install --quiet --python .venv --no-deps --editable .
