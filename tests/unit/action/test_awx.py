# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of the action awx: written once, told in check mode, shown as a difference."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import EncryptedString
from ansible_collections.fleet.ota.plugins.action import awx
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

if t.TYPE_CHECKING:
    from .conftest import Act, Result

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
PLACES = {
    "repository": "repo",
    "trust_root": "root.json",
    "channel": "stable",
    "release": "gateway",
    "journal_dir": "j",
}


def test_check_mode_idempotence_and_diff(act: Act, tmp_path: pathlib.Path) -> None:
    made = plan.make(hosts=["d1", "d2"], groups={"all": ["d1", "d2"]}, release=RELEASE)
    variables = {f"fleet_ota_{key}": value for key, value in PLACES.items()}
    path = tmp_path / "awx" / "rollout.yml"

    def export(*, check: bool = False, **more: t.Any) -> Result:
        given: dict[str, t.Any] = {
            "plan": made.document,
            "variables": variables,
            "organization": "o",
            "project": "p",
            "inventory": "i",
        }
        return act(awx.ActionModule, check=check, **{**given, "dest": str(path), **more})

    assert export(check=True)["changed"]
    assert not path.parent.exists()
    first = export()
    assert first["changed"]
    assert path.read_text() == first["content"] == first["diff"]["after"]
    assert not export()["changed"]
    other = export(check=True, project="q")
    assert other["changed"]
    assert "project: q" in other["diff"]["after"]
    assert "project: p" in other["diff"]["before"]
    assert path.read_text() == first["content"]
    returned = export(dest=None)
    assert (returned["changed"], returned["dest"], returned["content"]) == (False, None, first["content"])


def test_extra_variables_are_handed_on_as_they_were_given_and_encrypted_ones_never(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan.make(hosts=["d1"], groups={"all": ["d1"]}, release=RELEASE)
    variables = {f"fleet_ota_{key}": value for key, value in PLACES.items()}
    given: dict[str, t.Any] = {
        "plan": made.document,
        "variables": variables,
        "organization": "o",
        "project": "p",
        "inventory": "i",
    }
    extra: dict[str, t.Any] = {"fleet_ota_order": ["{{ first }}"], "fleet_ota_channel": "pilot", "other": 1}
    monkeypatch.setattr(awx, "load_extra_vars", lambda _loader: extra)

    def handed(**more: t.Any) -> t.Any:
        return act(awx.ActionModule, **given, **more)["tasks"][0]["awx.awx.job_template"]["extra_vars"]

    release = {"fleet_ota_release": "gateway/2.0", "fleet_ota_deferred_exit": 0}
    assert handed() == {**variables, **release}
    assert handed(extra_variables=True) == {**variables, **release, "fleet_ota_order": ["{{ first }}"]}
    extra["fleet_ota_notify"] = [{"url": EncryptedString(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n31")}]
    with pytest.raises(AnsibleActionFail, match="fleet_ota_notify: encrypted"):
        handed(extra_variables=True)
