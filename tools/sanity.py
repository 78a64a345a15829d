# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run `ansible-test sanity` on a copy of the collection, with nothing but a package index at hand.

ansible-test makes a virtual environment per Python and fills it with a bootstrap script of pip that it would download
from a server of its own. It uses a copy from `~/.ansible/test/cache` when there is one, so a stand-in is put there:
Python carries pip with it (`ensurepip`), all that is left to do is installing what the script was asked for. The home
folder is one of our own, so that nothing is left behind in the user's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tools import ROOT, pythons, results

HOME = ROOT / ".cache" / "ansible-test-home"

#: Needs PowerShell or a container; without them these would only warn.
SKIPPED_TESTS = ["pslint"]

_STAND_IN = '''\
"""Does what pip's bootstrap script is used for: put pip and the named packages into this environment."""
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
unknown = {"--no-setuptools", "--no-wheel", "--disable-pip-version-check"}
packages = [argument for argument in sys.argv[1:] if argument not in unknown]
command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
sys.exit(subprocess.call(command + packages))
'''


def run(tree: Path, lint_bin: Path, arguments: list[str]) -> int:
    """Run it on the copy ``tree`` with the ansible-core in ``lint_bin``. Returns the exit code."""
    programs = _prepare_home(lint_bin)
    env = {
        **os.environ,
        "HOME": str(HOME),
        # Real interpreters first: a version manager's stand-ins look for their settings in the home folder.
        "PATH": os.pathsep.join([str(lint_bin), str(programs), os.environ.get("PATH", os.defpath)]),
    }
    skips = [argument for name in SKIPPED_TESTS for argument in ("--skip-test", name)]
    command = [str(lint_bin / "ansible-test"), "sanity", "--color", "no", *skips, *arguments]
    return _run_quietly(command, tree, env)


def _run_quietly(command: list[str], tree: Path, env: dict[str, str]) -> int:
    """Show what tests run and what they found; pip's long tales about each of their environments go to a file."""
    log = results.path("lint", "sanity").with_suffix(".log")
    with (
        log.open("w") as everything,
        subprocess.Popen(
            command,
            cwd=tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            everything.write(line)
            if line.startswith(("Running sanity test", "ERROR", "FATAL")):
                print(line, end="", flush=True)
    if process.returncode:
        print(f"everything it said: {log.relative_to(ROOT)}", flush=True)
    return process.returncode


def _prepare_home(lint_bin: Path) -> Path:
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in _pip_versions(lint_bin):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(_STAND_IN)
    # The user's own settings of pip (an index, a certificate) have to hold here too.
    for name in (".pip", ".config/pip"):
        own, link = Path.home() / name, HOME / name
        if own.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(own)
    programs = HOME / "bin"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    for python in pythons.find().values():
        (programs / python.name).symlink_to(python.path)
    return programs


def _pip_versions(lint_bin: Path) -> list[str]:
    """The versions of pip that this ansible-test asks for; they stand in its source only."""
    question = "import ansible_test, os; print(os.path.dirname(ansible_test.__file__))"
    answer = subprocess.run([lint_bin / "python", "-c", question], capture_output=True, text=True, check=True)
    source = Path(answer.stdout.strip()) / "_internal" / "python_requirements.py"
    versions = sorted(set(re.findall(r"""pip['"]?\s*[:=]\s*['"]([0-9.]+)['"]""", source.read_text())))
    if not versions:
        raise SystemExit(f"{source} no longer says which pip it wants; adapt tools/sanity.py to this ansible-test")
    return versions
