"""What the comparison needs: the program, and a Python with PyTorch."""
import os
import pathlib
import platform
import shutil
import subprocess
import sys

from . import process

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
CHECK = "import numpy, safetensors, tokenizers, torch, zstandard; print(torch.__version__)"


def python(folder):
    """The Python of the virtual environment `folder`, which is made, or completed, where it lacks anything."""
    path = folder / "bin/python"
    if path.exists() and subprocess.run([path, "-c", CHECK], capture_output=True).returncode == 0:
        return path
    if not path.exists():
        process.say(f"making the Python environment {folder}: some 6 GB ...")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [path, "-m", "pip", "install", "--quiet", "-r", BENCH / "requirements.txt"]
    if subprocess.run(install).returncode != 0:
        raise process.Failed(f"{folder}: pip could not install what bench/requirements.txt lists; --env DIR names an environment that has it")
    return path


def program():
    """The release build of `temper`."""
    process.say("building temper ...")
    if subprocess.run(["cargo", "build", "--release", "--workspace", "--quiet"], cwd=ROOT).returncode != 0:
        raise process.Failed("cargo build failed")
    return ROOT / "target/release/temper"


def require_compiler():
    """`torch.compile` calls a C++ compiler."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        raise process.Failed("torch.compile needs a C++ compiler (Debian: g++); --no-compile leaves it out")


def machine(python, temper):
    """What the numbers depend on."""
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": cpu, "cores": len(os.sched_getaffinity(0)), "system": platform.platform(),
        "temper": process.run([temper, "--version"])[2].strip(), "commit": commit or None,
        "torch": process.run([python, "-c", CHECK])[2].strip(), "load": pathlib.Path("/proc/loadavg").read_text().split()[0],
    }
