# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has changed since a commit, as far as it decides which tests and linters can fail."""

from __future__ import annotations

import subprocess

from tools import ROOT

#: Files that no program reads but the tests of documents and the linters of `DOCS_LINTERS`.
DOCUMENTS = (".md", ".rst")
DOCUMENT_FOLDERS = ("docs/", "changelogs/fragments/")
#: The linters that read such files.
DOCS_LINTERS = ("yamllint", "changelog", "docs")


def is_documents_alone(commit: str) -> bool:
    """Whether something, and nothing but documents, differs between ``commit`` and the working tree.

    A commit that git does not know is an error of whoever named it: SystemExit.
    """
    paths = [
        path
        for arguments in (["diff", "--name-only", commit], ["ls-files", "--others", "--exclude-standard"])
        for path in _git(*arguments).splitlines()
    ]
    return bool(paths) and all(path.endswith(DOCUMENTS) or path.startswith(DOCUMENT_FOLDERS) for path in paths)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)} failed: {done.stderr.strip()}; name a commit of this repository")
    return done.stdout
