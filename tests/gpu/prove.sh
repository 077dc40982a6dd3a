#!/usr/bin/env bash
# What only a GPU can show, in one command of at most nine minutes, with the packages that are there:
#   tests/gpu/prove.sh [--out exp/gpu] [--device cuda|cpu] [--small] [--minutes 9] [--only features,networks,...]
# It writes prove.json and PROVE.md into --out, and ends with 1 where a result is not the CPU's. WHEELS names a folder
# of wheels (pip download) for packages that the machine lacks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3}
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
export PYTHONPATH="steps:tests:tests/gpu:$packages${PYTHONPATH:+:$PYTHONPATH}"
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # for the part that must be exact; to be set before the first product
missing=()
for name in torch numpy scipy soundfile soxr kaldiio yaml jsonargparse tqdm; do
  "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$name') is None)" || missing+=("${name/yaml/pyyaml}")
done
if ((${#missing[@]})) && [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --find-links "$WHEELS" --target "$packages" "${missing[@]}" && missing=()
fi
if ((${#missing[@]})); then
  echo "prove.sh: packages are missing: ${missing[*]}; pip download them elsewhere, and name the folder in WHEELS" >&2
  exit 2
fi
"$python" tests/gpu/prove.py "$@"
