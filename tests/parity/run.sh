#!/usr/bin/env bash
# Makes or refreshes .venv-parity (ours, and PyTorch with transformers), then runs COMMAND in it, by default the live
# parity tests:
#
#     tests/parity/run.sh [COMMAND...]
#
# When nothing changed, the set-up costs milliseconds. .venv itself stays free of PyTorch. On Linux, PyPI's PyTorch
# brings CUDA along; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu has builds without it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

inputs=(requirements.txt requirements-dev.txt requirements-parity.txt constraints.txt tests/parity/run.sh)
stamp=$(cat "${inputs[@]}" | sha256sum)
if [ "$(cat .venv-parity/.stamp 2>/dev/null)" != "$stamp" ]; then
  ./tpu_setup.sh  # also finds the interpreter
  echo "run.sh: installing into .venv-parity (a minute or two)" >&2
  rm -rf .venv-parity
  .venv/bin/python -m venv .venv-parity
  echo '*' > .venv-parity/.gitignore
  .venv-parity/bin/python -m pip install --quiet --disable-pip-version-check \
    -r requirements.txt -r requirements-dev.txt -r requirements-parity.txt -c constraints.txt \
    2>.venv-parity/install.log || { cat .venv-parity/install.log >&2; exit 1; }
  echo "$stamp" > .venv-parity/.stamp
fi

export VIRTUAL_ENV="$PWD/.venv-parity" PATH="$PWD/.venv-parity/bin:$PATH" JAX_PLATFORMS=cpu
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"  # as tpu_setup.sh
if [ $# -eq 0 ]; then set -- pytest tests/parity; fi
exec "$@"
