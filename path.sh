# shellcheck shell=bash
# The environment: makes .venv from pyproject.toml the first time, then activates it.
# Source it (`. ./path.sh`) before running a step by hand; run.sh does so itself.

timbre_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)

# Builds .venv and writes .venv/.complete last, with the checksum of pyproject.toml: an interrupted
# set-up has no .complete and is remade, a changed pyproject.toml is installed anew into the same .venv.
# One that was copied or linked from elsewhere would run the code that lies there.
timbre_setup() ( # called in a condition, where bash passes over `set -e`
  set -uo pipefail
  cd "$timbre_root" || exit 1
  for owner in .venv/lib/python3*/site-packages/__editable__.timbre-*.pth; do
    [ -f "$owner" ] && [ ! "$(cat "$owner")" -ef steps ] &&
      { echo "path.sh: .venv runs the code in $(cat "$owner"), not that of this clone: rm -r .venv" >&2; exit 1; }
  done
  wanted=$(sha256sum pyproject.toml | cut -d' ' -f1) || exit 1
  [ "$(cat .venv/.complete 2>/dev/null)" = "$wanted" ] && exit 0
  exec 9> .venv.lock || exit 1
  if ! flock -n 9; then
    echo "path.sh: another process is setting .venv up; waiting for it" >&2
    flock 9 || exit 1
    [ "$(cat .venv/.complete 2>/dev/null)" = "$wanted" ] && exit 0
  fi
  if [ ! -f .venv/.complete ]; then
    [ -e .venv ] && echo "path.sh: .venv is not complete; making it again" >&2
    rm -rf .venv || exit 1
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
      { echo "path.sh: Python 3.11 or newer is needed ($python is $("$python" -V 2>&1)); set PYTHON to one" >&2; exit 1; }
    echo "path.sh: making .venv and installing torch and the rest into it (about two minutes, once)" >&2
    "$python" -m venv .venv || exit 1
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv || exit 1
  else
    echo "path.sh: pyproject.toml has changed; bringing .venv up to date" >&2
    rm .venv/.complete || exit 1
  fi
  VIRTUAL_ENV=$timbre_root/.venv .venv/bin/uv pip install --quiet --compile-bytecode -e '.[dev]' || exit 1
  echo "$wanted" > .venv/.complete
)

if timbre_setup; then
  # shellcheck disable=SC1091
  . "$timbre_root/.venv/bin/activate"
  export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
  unset PYTHONPATH
else
  echo "path.sh: setting up .venv failed; mend what is said above and run this again" >&2
  # shellcheck disable=SC2317
  return 1 2>/dev/null || exit 1
fi
