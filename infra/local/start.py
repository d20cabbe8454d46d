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
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"
OLDEST = (3, 11)


def install() -> None:
    """Make the environment anew when requirements.txt, Python or its own place is not the one it was made from.

    The stamp is written last: what was left half made is made again. The lock makes a second process wait.
    """
    # Its scripts begin with where its Python was when they were made.
    made_from = REQUIREMENTS.read_bytes() + sys.version.encode() + bytes(VENV)
    wanted = hashlib.sha256(made_from).hexdigest()
    stamp = VENV / "installed"
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print("installing the local AWS into", VENV, file=sys.stderr)
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)])
        pip = [str(PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # No dependencies: requirements.txt names all, and leaves out the 470 MB compiler that cargo-lambda wants.
        run([*pip, "install", "--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS)])
        stamp.write_text(wanted)


def run(command: list) -> None:
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(
            f"failed: {' '.join(command)} ({error})\n"
            "The local AWS needs Python's venv and pip (Debian, Ubuntu: apt-get install python3-venv) "
            "and a way to PyPI. Mend that and start it again."
        )


def become_a_newer_python() -> None:
    """The first `python3` of a machine may be an old one, with a newer one beside it."""
    for minor in range(14, OLDEST[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        # A name alone is no proof: version managers put a name for every version on the PATH.
        if newer and subprocess.run([newer, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            os.execv(newer, [newer, *sys.argv])
    found = sys.version.split()[0]
    sys.exit(f"the local AWS needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {found} ({sys.executable})")


def main() -> None:
    if sys.version_info < OLDEST:
        become_a_newer_python()
    install()
    arguments = sys.argv[1:]
    if arguments == ["--install-only"]:
        return
    os.execv(PYTHON, [str(PYTHON), str(HERE / "local_aws.py"), *arguments])


if __name__ == "__main__":
    main()
