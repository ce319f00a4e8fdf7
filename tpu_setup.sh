#!/usr/bin/env bash
# Makes or refreshes .venv from requirements.txt, then runs COMMAND in it:
#
#     ./tpu_setup.sh [COMMAND...]
#     ./tpu_setup.sh --check [--workdir DIR]    # this machine, or all workers of a pod: see python -m ssl_jax.check
#
# On a TPU VM it installs jax[tpu], beside an NVIDIA GPU jax[cuda13], elsewhere the CPU build. When nothing changed it
# costs milliseconds.
# The same line works on every worker of a pod: gcloud compute tpus tpu-vm ssh NAME --worker=all --command='...'.
# PYTHON names another interpreter than the newest python3.11+ on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

is_tpu_vm() { compgen -G '/dev/accel*' >/dev/null || compgen -G '/dev/vfio/[0-9]*' >/dev/null || [ -n "${TPU_NAME:-}" ]; }

has_nvidia_gpu() { compgen -G '/dev/nvidia[0-9]*' >/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "tpu_setup.sh: needs Python 3.11 or newer with venv (on Debian or Ubuntu: sudo apt-get install python3.11-venv), or PYTHON=/path/to/it." >&2
  exit 2
}

platform=cpu
if is_tpu_vm; then platform=tpu; elif has_nvidia_gpu; then platform=cuda13; fi
stamp="$platform $(cat tpu_setup.sh requirements.txt requirements-dev.txt constraints.txt | sha256sum)"

set_up() {
  if [ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ]; then return; fi
  echo "tpu_setup.sh: installing into .venv for $platform (about a minute)" >&2
  local python extra=()
  python=$(find_python)
  rm -rf .venv
  "$python" -m venv .venv
  if [ "$platform" != cpu ]; then extra=("jax[$platform]"); fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
    -r requirements.txt -r requirements-dev.txt -c constraints.txt "${extra[@]}" 2>.venv/install.log ||
    { cat .venv/install.log >&2; exit 1; }
  echo "$stamp" > .venv/.stamp
}

# Several commands may start at once (a shared home on a pod): one installs, the others wait.
if command -v flock >/dev/null; then
  exec 9>.venv.lock
  flock 9
  set_up
  exec 9>&-
else
  set_up
fi

if [ "${1:-}" = --check ]; then set -- python -m ssl_jax.check "${@:2}"; fi

if [ $# -gt 0 ]; then
  export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
  export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
  if [ "$platform" = cpu ]; then
    export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
    # Large pages for XLA's buffers: fewer page faults, about a sixth off a step of BERT-mini. Other libcs ignore it.
    export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
  fi
  exec "$@"
fi
