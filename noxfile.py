# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For people used to `nox`: antsibull-nox's sessions, and the project's own as `nox -s lint` and `nox -s test`.

`make lint` and `make test` need no nox; they run the same linters and more.
"""

from __future__ import annotations

import sys

try:
    import antsibull_nox
    import nox
except ImportError:
    print("nox and antsibull-nox are in requirements-lint.txt: pip install -r requirements-lint.txt")
    sys.exit(1)

antsibull_nox.load_antsibull_nox_toml()


@nox.session(name="test", venv_backend="none")
def test(session: nox.Session) -> None:
    """Run everything that `make test` runs; arguments choose, for example `nox -s test -- unit`."""
    session.run(sys.executable, "-m", "tools", "test", *session.posargs)


@nox.session(name="checks", venv_backend="none", default=False)
def checks(session: nox.Session) -> None:
    """Run everything that `make lint` runs; arguments choose, for example `nox -s checks -- ruff`."""
    session.run(sys.executable, "-m", "tools", "lint", *session.posargs)


if __name__ == "__main__":
    nox.main()
