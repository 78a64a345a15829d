# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys are added, rotated and revoked: controllers and devices that slept through all of it follow from their old root.

Controllers are python-tuf's client, devices the device engine's own verifier.
"""

from __future__ import annotations

import datetime
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import Trust
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import TrustError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring as keys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository import overview
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Edit
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.store import PERIODS
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import Request
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposals import Proposals
from tuf.api.metadata import TargetFile

if t.TYPE_CHECKING:
    from ..conftest import Site


class Client:
    """A controller and a device that pinned the root of now, and may have seen the state of now."""

    def __init__(self, site: Site, folder: pathlib.Path, *, seen: bool) -> None:
        self.site, self.cache = site, folder / "cache"
        self.pinned = folder / "root.json"
        folder.mkdir()
        newest = max((site.path / "metadata").glob("*.root.json"), key=lambda path: int(path.name.split(".")[0]))
        self.pinned.write_bytes(newest.read_bytes())
        self.layout = Layout(str(folder / "device"))
        place = pathlib.Path(self.layout.file("trust", "root.json"))
        place.parent.mkdir(parents=True)
        place.write_bytes(newest.read_bytes())
        if seen:
            self.update()

    def fetch(self) -> Bundle:
        return self.site.fetch(trust_root=self.pinned, cache=self.cache)

    def update(self) -> str:
        """What both accept now: the version, from the same signed document."""
        bundle = self.fetch()
        accepted = Trust(self.layout).accept(bundle.wire())
        assert accepted.digest == bundle.digest
        return bundle.version


@pytest.fixture(params=[False, True], ids=["never-updated", "saw-the-old-state"])
def sleeper(site: Site, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> Client:
    """Pinned the very first root, and sleeps from then on."""
    site.publish()
    return Client(site, tmp_path / "sleeper", seen=request.param)


def rotate(site: Site, generation: int, *names: str) -> None:
    """Give every one of ``names`` a new key; those before are gone afterwards."""
    config = site.config()
    holders = {**config.roles, **config.channels}
    fresh = {name: site.holders(f"{name}-{generation}") for name in names}
    before = {name: site.holders(f"{name}-{generation - 1}") if generation > 1 else holders[name] for name in names}
    site.repository().ensure(
        site.config(
            roles={name: fresh[name] for name in names if name in store.TOP},
            channels={name: fresh[name] for name in names if name not in store.TOP},
        ),
        site.ring(),
    )
    for name in names:
        assert {key.keyid for key in before[name].keys}.isdisjoint({key.keyid for key in fresh[name].keys})
        (site.folder / "keys" / (f"{name}-{generation - 1}.pem" if generation > 1 else f"{name}.pem")).unlink()


def test_whoever_slept_through_five_roots_and_all_keys_changing_follows(site: Site, sleeper: Client) -> None:
    every = (*store.TOP, "stable")
    for generation in range(1, 6):
        rotate(site, generation, *every)
        site.publish(f"{generation + 1}.0", generation + 1)
    bundle = sleeper.fetch()
    assert (bundle.version, len(bundle.root)) == ("6.0", 5)
    assert sleeper.update() == "6.0"
    assert sleeper.update() == "6.0"


@pytest.mark.parametrize("role", [*store.TOP, "stable"])
def test_each_roles_key_alone_can_be_rotated_twice(site: Site, sleeper: Client, role: str) -> None:
    rotate(site, 1, role)
    rotate(site, 2, role)
    site.publish("2.0", 2)
    assert sleeper.update() == "2.0"


def test_a_skipped_root_is_not_jumped_over(site: Site, sleeper: Client) -> None:
    rotate(site, 1, "root")
    rotate(site, 2, "root")
    wire = sleeper.fetch().wire()
    wire["root"] = wire["root"][1:]
    with pytest.raises(OtaError, match="root version 2 is missing"):
        Trust(sleeper.layout).accept(wire)


def test_keys_are_added_until_two_of_three_must_sign(site: Site, sleeper: Client) -> None:
    people = site.holders("anna", "ben", "carla", threshold=2)
    site.make(roles={"root": people, "targets": people}, channels={"stable": people})
    site.publish("2.0", 2)
    assert sleeper.update() == "2.0"
    ring = site.ring("anna", "snapshot", "timestamp")
    with pytest.raises(Exception, match="stable needs 2 of 3"):
        site.repository().publish("stable", site.document("3.0", 3), ring)


def forge(site: Site, *signing: str) -> None:
    """List another release in stable with whatever keys somebody stole, who also serves the repository."""
    ring = site.ring(*signing, "snapshot", "timestamp")
    edit = Edit(site.repository().store.load(), ring, PERIODS, datetime.datetime.now(datetime.UTC))
    stable = edit.channels["stable"]
    custom = {"name": "gateway", "version": "9.0", "counter": 9}
    stable.signed.targets["stable/gateway/9.0.json"] = TargetFile.from_data(
        "stable/gateway/9.0.json", b"{}", ["sha256"]
    )
    stable.signed.targets["stable/gateway/9.0.json"].unrecognized_fields["custom"] = custom
    stable.signed.version += 1
    stable.signatures.clear()
    for name in signing:
        stable.sign(ring.signers[keys.public(site.key(name)).keyid], append=True)
    edit.adopt({"stable": stable})
    edit._enough = lambda role, metadata: metadata.to_bytes()  # type: ignore[method-assign]
    site.repository().store.commit(edit.finish())
    path = site.path / "targets" / "stable" / "gateway"
    digest = stable.signed.targets["stable/gateway/9.0.json"].hashes["sha256"]
    (path / f"{digest}.9.0.json").write_bytes(b"{}")


def handed(site: Site, wire: dict[str, t.Any]) -> dict[str, t.Any]:
    """``wire`` with what :func:`forge` made, as somebody else would hand it to a device."""

    def newest(role: str) -> str:
        paths = (site.path / "metadata").glob(f"*.{role}.json")
        return max(paths, key=lambda path: int(path.name.split(".")[0])).read_text()

    timestamp = (site.path / "metadata" / "timestamp.json").read_text()
    more = {"timestamp": timestamp, "snapshot": newest("snapshot"), "roles": {"stable": newest("stable")}}
    target = "stable/gateway/9.0.json"
    return {**wire, **more, "target": target, "documents": {target: "{}"}}


def test_a_revoked_key_can_no_longer_sign_releases(site: Site, sleeper: Client) -> None:
    site.make(roles={}, channels={"stable": site.holders("stable", "ben")})
    sleeper.update()
    site.make(roles={}, channels={"stable": site.holders("stable")})
    good = sleeper.fetch().wire()
    forge(site, "ben")
    with pytest.raises(TrustError):
        sleeper.fetch()
    with pytest.raises(OtaError) as caught:
        Trust(sleeper.layout).accept(handed(site, good))
    assert caught.value.code == "SIGNATURE"


def test_the_forgery_fails_for_nothing_but_the_revocation(site: Site, sleeper: Client) -> None:
    site.make(roles={}, channels={"stable": site.holders("stable", "ben")})
    good = sleeper.fetch().wire()
    forge(site, "ben")
    assert Trust(sleeper.layout).accept(handed(site, good)).content == b"{}"


def test_what_the_revoked_key_listed_alone_is_listed_again_by_those_who_stay(site: Site, sleeper: Client) -> None:
    site.make(roles={}, channels={"stable": site.holders("stable", "ben")})
    site.repository().publish("stable", site.document("2.0", 2), site.ring("ben", "snapshot", "timestamp"))
    site.make(roles={}, channels={"stable": site.holders("stable")})
    signatures = site.repository().store.load().channels["stable"].signatures
    assert set(signatures) == {keys.public(site.key("stable")).keyid}
    assert sleeper.update() == "2.0"


def test_revoking_without_the_remaining_people_is_not_half_done(site: Site) -> None:
    both = site.holders("stable", "ben")
    site.make(roles={}, channels={"stable": both})
    before = {path.name: path.read_bytes() for path in (site.path / "metadata").iterdir()}
    config = site.config(roles={}, channels={"stable": site.holders("ben")})
    with pytest.raises(Exception, match="stable needs 1 of 1 signatures"):
        site.repository().ensure(config, site.ring("targets", "snapshot", "timestamp"))
    assert {path.name: path.read_bytes() for path in (site.path / "metadata").iterdir()} == before


def test_a_lost_root_key_is_replaced_by_the_others_in_steps(site: Site, sleeper: Client) -> None:
    """Root is held by three; carla lost her key. Anna and ben replace it, each on their own machine."""
    people = site.holders("anna", "ben", "carla", threshold=2)
    site.make(roles={"root": people}, channels={})
    (site.folder / "keys" / "carla.pem").unlink()
    fresh = site.holders("anna", "ben", "dora", threshold=2)
    config = site.config(roles={"root": fresh}, channels={})
    change = site.repository().ensure(config, site.ring("anna"), propose=Request("anna"))
    assert change.proposal is not None
    proposals = Proposals(site.repository())
    assert proposals.sign(change.proposal.id, site.ring("ben")).state == "ready"
    proposals.apply(change.proposal.id, site.ring("snapshot", "timestamp"))
    site.publish("2.0", 2)
    bundle = sleeper.fetch()
    assert (bundle.version, len(bundle.root)) == ("2.0", 2)
    assert sleeper.update() == "2.0"


# -- what is shown ----------------------------------------------------------------------------------------------


def test_everything_about_a_repository_is_shown(site: Site) -> None:
    people = site.holders("anna", "ben", "carla", threshold=2)
    site.make(roles={}, channels={"stable": people}, approvals={"approvals": site.holders("dora", "emil", threshold=2)})
    site.publish()
    site.repository().publish("stable", site.document("2.0", 2), site.ring("anna"), propose=Request("anna"))
    shown = overview.show(site.repository())
    roles = {role["name"]: role for role in shown["roles"]}
    assert sorted(roles) == ["approvals", "pilot", "root", "snapshot", "stable", "targets", "timestamp"]
    stable = roles["stable"]
    assert (stable["kind"], stable["threshold"], stable["version"], stable["single_key"]) == ("channel", 2, 3, False)
    assert [(key["name"], key["signed"]) for key in stable["keys"]] == [("anna", True), ("ben", True), ("carla", True)]
    assert (roles["approvals"]["kind"], roles["approvals"]["days_left"]) == ("approvals", 29)
    assert [entry["version"] for entry in shown["releases"]] == ["1.0"]
    (waiting,) = shown["proposals"]
    assert [need["missing"] for need in waiting["roles"]] == [
        [f"{name} ({keys.public(site.key(name)).keyid[:8]})" for name in ("ben", "carla")]
    ]
    assert any("one key alone can sign for root" in warning for warning in shown["warnings"])
    text = "\n".join(shown["lines"])
    assert "2 of 3 (anna*, ben*, carla*)" in text
    assert "stable 1 of 2" in text


@pytest.mark.parametrize(
    ("days", "part"),
    [(6, "timestamp expires in 0 days"), (8, "timestamp expired at"), (70, "stable expires in 19 days")],
)
def test_what_expires_is_warned_of(site: Site, days: int, part: str) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    assert any(part in warning for warning in overview.show(site.repository(later))["warnings"])


def test_a_repository_that_is_still_proposed_is_shown(empty: Site) -> None:
    both = empty.holders("anna", "ben", threshold=2)
    config = empty.config(roles={**empty.config().roles, "root": both})
    empty.repository().ensure(config, Ring.load([empty.key("anna")]), propose=Request("anna"))
    shown = overview.show(empty.repository())
    assert not shown["exists"]
    assert any("root 1 of 2" in line for line in shown["lines"])
