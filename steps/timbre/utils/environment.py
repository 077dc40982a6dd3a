"""What a run was made with: versions, machine, state of the source. run.sh has it written when training starts.

python -m timbre.utils.environment exp/RUN/environment.json
"""

import json
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from timbre.utils.files import atomic_write

_PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "kaldiio", "matplotlib")
_ROOT = Path(__file__).resolve().parents[2]


def describe_environment() -> dict[str, str]:
    """Names and values, fit to be printed; what cannot be found out is left out."""
    found = {
        "source": _source(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "system": f"{_system()}, {platform.machine()}",
        "CPU": _processor(),
        "CPU cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "GPU": _gpus(),
    }
    return {name: value for name, value in found.items() if value}


def peak_resident_bytes() -> int:
    """The most memory that this process has had; ru_maxrss would count that of the parent before it."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass  # no /proc
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write_environment(path: Path) -> None:
    """Writes `describe_environment` to PATH as JSON."""
    with atomic_write(path) as file:
        json.dump(describe_environment(), file, indent=2, ensure_ascii=False)
        file.write("\n")


def _source() -> str:
    """The commit of the source, and whether files differ from it."""
    commit = _output("git", "-C", str(_ROOT), "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _output("git", "-C", str(_ROOT), "status", "--porcelain", "--untracked-files=no").splitlines()
    files = f"{len(changed)} file{'s'[: len(changed) != 1]}"
    return f"commit {commit}" + (f", with changes in {files}" if changed else "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory() -> str:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    return ""


def _gpus() -> str:
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _output(*command: str) -> str:
    """What COMMAND prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    write_environment(Path(sys.argv[1]))
