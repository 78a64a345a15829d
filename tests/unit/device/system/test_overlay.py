# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the layers of a rehearsal say was touched."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.fleet.ota.plugins.module_utils._device.system import overlay, rootcopy


def test_what_lay_below_a_directory_that_became_something_else_was_touched(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "app/deep").mkdir(parents=True)
    (lower / "app/deep/data").write_text("x")
    (lower / "app/link").symlink_to(tmp_path)
    upper.mkdir()
    (upper / "app").symlink_to("elsewhere")
    touched, _needs = overlay._changes({str(lower): str(upper)}, "/")
    assert touched == [str(lower / name) for name in ("app", "app/deep", "app/deep/data", "app/link")]


def test_a_program_that_stands_in_is_no_change(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    (upper / "policy-rc.d").write_text(rootcopy.POLICY_TEXT)
    (upper / "of-a-package").write_text("#!/bin/sh\n")
    assert overlay._changes({str(lower): str(upper)}, "/")[0] == [str(lower / "of-a-package")]
