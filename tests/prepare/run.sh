#!/usr/bin/env bash
# Makes or refreshes .venv-prepare (Apache Beam, see requirements-prepare.txt), then runs COMMAND in it, by default the
# tests of preparation by several processes:
#
#     tests/prepare/run.sh [COMMAND...]
#
# When nothing changed, the set-up costs milliseconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

stamp=$(cat requirements-prepare.txt requirements-dev.txt tests/prepare/run.sh | sha256sum)
if [ "$(cat .venv-prepare/.stamp 2>/dev/null)" != "$stamp" ]; then
  ./tpu_setup.sh  # also finds the interpreter
  echo "run.sh: installing into .venv-prepare (about a minute)" >&2
  rm -rf .venv-prepare
  .venv/bin/python -m venv .venv-prepare
  echo '*' > .venv-prepare/.gitignore
  .venv-prepare/bin/python -m pip install --quiet --disable-pip-version-check \
    -r requirements-prepare.txt -r requirements-dev.txt \
    2>.venv-prepare/install.log || { cat .venv-prepare/install.log >&2; exit 1; }
  echo "$stamp" > .venv-prepare/.stamp
fi

export VIRTUAL_ENV="$PWD/.venv-prepare" PATH="$PWD/.venv-prepare/bin:$PATH" JAX_PLATFORMS=cpu
if [ $# -eq 0 ]; then set -- pytest -n 1 tests/prepare; fi
exec "$@"
