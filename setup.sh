#!/bin/sh
# Make .venv with the pinned dependencies and fitrl itself. Safe to run again.
set -eu
cd "$(dirname "$0")"

# uv finds, or fetches, a Python that is new enough. Take the one at hand, else bring one along in .uv.
if uv --version >/dev/null 2>&1; then
    uv=uv
elif python3 -m uv --version >/dev/null 2>&1; then
    uv="python3 -m uv"
else
    test -x .uv/bin/uv || { python3 -m venv .uv && .uv/bin/pip install --quiet uv; }
    uv=.uv/bin/uv
fi

$uv venv --quiet --allow-existing .venv
$uv pip sync --quiet --python .venv --require-hashes requirements.lock
$uv pip install --quiet --python .venv --no-deps --editable .
# The editable install answers for fitrl only where no folder of that name is at hand, as beside a clone. With the clone on
# the path the package itself is found first.
.venv/bin/python -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("purelib"), "fitrl_clone.pth"), "w").write(os.getcwd())'
