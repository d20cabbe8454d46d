#!/usr/bin/env python3
"""Start the local AWS: make its virtual environment if need be, then become it.

    python3 infra/local/start.py                 print endpoints and credentials, serve until Ctrl-C
    python3 infra/local/start.py --install-only  only make the environment
    python3 infra/local/start.py --help          all options

Needs nothing but Python 3.11 or newer; the rest comes from PyPI, pinned with hashes in requirements.txt.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent / "target" / "local-aws"
VENV = HOME / "venv"
REQUIREMENTS = HERE / "requirements.txt"


def install() -> None:
    """Make the environment anew when requirements.txt, or Python, is not the one it was made from."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "installed"
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print("installing the local AWS into", VENV, file=sys.stderr)
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)])
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # No dependencies: requirements.txt names all, and leaves out the 470 MB compiler that cargo-lambda wants.
        run([*pip, "install", "--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS)])
        stamp.write_text(wanted)


def run(command: list) -> None:
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except subprocess.CalledProcessError:
        sys.exit(
            f"failed: {' '.join(command)}\n"
            "The local AWS needs Python's venv and pip (Debian, Ubuntu: apt-get install python3-venv) "
            "and a way to PyPI. Mend that and start it again."
        )


def main() -> None:
    if sys.version_info < (3, 11):
        sys.exit(f"the local AWS needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    install()
    arguments = sys.argv[1:]
    if arguments == ["--install-only"]:
        return
    python = str(VENV / "bin" / "python")
    os.execv(python, [python, str(HERE / "local_aws.py"), *arguments])


if __name__ == "__main__":
    main()
