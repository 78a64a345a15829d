# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifying from a pinned root: what is accepted, what is refused with which code, what a device is given."""

from __future__ import annotations

import datetime
import functools
import hashlib
import http.server
import json
import pathlib
import shutil
import threading
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import Trust
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import TrustError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import bundle as bundles
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Edit
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.store import PERIODS, TOP, Store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Repository
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile

if t.TYPE_CHECKING:
    from ..conftest import Site


def refused(site: Site, **changes: t.Any) -> TrustError:
    with pytest.raises(TrustError) as caught:
        site.fetch(**changes)
    return caught.value


@pytest.fixture
def published(site: Site) -> Site:
    site.publish("1.0", 1)
    site.publish("2.0", 2)
    return site


@pytest.fixture
def url(published: Site) -> t.Iterator[str]:
    """The repository behind a web server on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(published.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


# -- what is accepted -------------------------------------------------------------------------------------------


def test_a_name_means_the_highest_counter(published: Site) -> None:
    bundle = published.fetch("gateway")
    assert (bundle.name, bundle.version, bundle.counter, bundle.channel) == ("gateway", "2.0", 2, "stable")
    assert bundle.target == "stable/gateway/2.0.json"
    assert published.fetch("gateway/1.0").version == "1.0"


def test_the_digest_is_that_of_the_document(published: Site) -> None:
    bundle = published.fetch()
    assert hashlib.sha256(bundle.release.encode()).hexdigest() == bundle.digest
    assert bundle.document == release.parse(bundle.release)
    assert release.canonical(bundle.document).decode() == bundle.release


def test_the_wire_form_is_what_the_engine_reads(published: Site) -> None:
    published.make(roles={**published.config().roles, "timestamp": published.holders("other")}, channels={})
    wire = published.fetch().wire()
    texts = {"timestamp", "snapshot", "targets"}
    assert set(wire) == {"channel", "target", "root", "roles", "documents", "approvals", *texts}
    assert (wire["channel"], wire["target"]) == ("stable", "stable/gateway/2.0.json")
    metadata = published.path / "metadata"
    assert wire["root"] == [(metadata / "2.root.json").read_text()]
    assert wire["timestamp"] == (metadata / "timestamp.json").read_text()
    state = published.repository().store.load()
    version = state.snapshot.signed.version
    assert wire["snapshot"] == (metadata / f"{version}.snapshot.json").read_text()
    assert json.loads(wire["roles"]["stable"])["signed"]["targets"].keys() == {
        "stable/gateway/1.0.json",
        "stable/gateway/2.0.json",
    }
    json.dumps(wire)


def test_roots_below_the_own_pinned_one_are_given_too(published: Site) -> None:
    for name in ("second", "third"):
        published.make(roles={**published.config().roles, "timestamp": published.holders(name)}, channels={})
    newest = published.path / "metadata" / "3.root.json"
    assert len(published.fetch(trust_root=newest).root) == 2
    assert len(published.fetch().root) == 2


def test_over_http_it_is_the_same(published: Site, url: str) -> None:
    near, far = published.fetch(), published.fetch(repository=url)
    assert far.wire() == near.wire()


@pytest.mark.parametrize("kind", ring.KINDS)
def test_a_device_that_pinned_the_first_root_follows(empty: Site, tmp_path: pathlib.Path, kind: str) -> None:
    """The device's own verifier, written apart from python-tuf, agrees through releases and changed keys."""
    for name in (*TOP, "pilot", "stable", "a", "b", "c"):
        empty.key(name, kind)
    empty.make()
    empty.publish("1.0", 1)
    layout = Layout(str(tmp_path / "device"))
    layout.prepare()
    pathlib.Path(layout.file("trust", "root.json")).write_bytes(empty.trust_root.read_bytes())
    assert Trust(layout).accept(empty.fetch().wire()).digest == empty.fetch().digest
    roles = {**empty.config().roles, "root": empty.holders("a", "b", threshold=2)}
    empty.make(roles=roles)
    empty.make(roles=roles | {"timestamp": empty.holders("c"), "snapshot": empty.holders("c")})
    empty.make(channels={"stable": empty.holders("a", "c", threshold=2)}, roles={})
    empty.publish("2.0", 2)
    accepted = Trust(layout).accept(empty.fetch().wire())
    assert (accepted.digest, accepted.root_version, accepted.threshold) == (empty.fetch().digest, 3, "2 of 2")


# -- payloads ---------------------------------------------------------------------------------------------------


def test_a_payload_in_a_directory_is_not_copied(published: Site) -> None:
    bundle = published.fetch()
    (entry,) = bundle.payloads()
    assert bundle.payload(entry["sha256"]) == published.path.resolve() / "targets" / "payloads" / entry["sha256"]
    assert bundle.size() == entry["length"]


def test_a_payload_behind_http_is_brought_once(published: Site, url: str) -> None:
    bundle = published.fetch(repository=url)
    (entry,) = bundle.payloads()
    path = bundle.payload(entry["sha256"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    shutil.rmtree(published.path / "targets" / "payloads")
    assert bundle.payload(entry["sha256"]) == path


def test_an_unchanged_payload_is_read_once(published: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = published.fetch()
    (entry,) = bundle.payloads()
    bundle.payload(entry["sha256"])
    monkeypatch.setattr(bundles.source, "digest_of", lambda path: pytest.fail(f"read {path} again"))
    bundle.payload(entry["sha256"])


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("change", "code"), [("byte", "HASH_MISMATCH"), ("cut", "LENGTH_MISMATCH"), ("gone", "FETCH")])
def test_a_changed_payload_is_refused(published: Site, change: str, code: str, known: bool) -> None:
    bundle = published.fetch()
    (entry,) = bundle.payloads()
    if known:
        bundle.payload(entry["sha256"])
    path = published.path / "targets" / "payloads" / entry["sha256"]
    content = path.read_bytes()
    if change == "byte":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif change == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with pytest.raises(TrustError) as caught:
        bundle.payload(entry["sha256"])
    assert caught.value.code == code


@pytest.mark.parametrize(("extra", "code"), [(b"x", "LENGTH_MISMATCH"), (b"", "HASH_MISMATCH")])
def test_a_changed_payload_behind_http_leaves_nothing(published: Site, url: str, extra: bytes, code: str) -> None:
    bundle = published.fetch(repository=url)
    (entry,) = bundle.payloads()
    path = published.path / "targets" / "payloads" / entry["sha256"]
    path.write_bytes(b"\0" * entry["length"] + extra)
    with pytest.raises(TrustError) as caught:
        bundle.payload(entry["sha256"])
    assert caught.value.code == code
    assert not (pathlib.Path(bundle.cache) / "payloads" / entry["sha256"]).exists()


def test_only_listed_payloads_are_given(published: Site) -> None:
    for wrong in ("0" * 64, "../../../etc/passwd"):
        with pytest.raises(TrustError, match="has no payload"):
            published.fetch().payload(wrong)


# -- keeping ----------------------------------------------------------------------------------------------------


def test_a_saved_bundle_comes_back(published: Site, tmp_path: pathlib.Path) -> None:
    bundle = published.fetch()
    path = bundle.save(tmp_path / "kept" / "bundle.json")
    assert Bundle.load(path) == bundle
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 2}', b'{"format": 1, "name": "x"}'])
def test_something_else_is_not_loaded(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(content)
    with pytest.raises(TrustError, match="not a saved bundle"):
        Bundle.load(path)


# -- what is refused --------------------------------------------------------------------------------------------


def test_a_missing_trust_root_is_a_refusal(published: Site) -> None:
    assert refused(published, trust_root=published.folder / "nowhere.json").code == "TRUST_ROOT"


def test_another_root_is_a_refusal(published: Site, tmp_path: pathlib.Path) -> None:
    other = type(published)(tmp_path / "other")
    other.make()
    assert refused(published, trust_root=other.trust_root).code == "THRESHOLD"


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"channel": "beta"}, "no channel 'beta', only pilot, stable"),
        ({"channel": "../stable"}, "no channel"),
        ({"release": "gateway/9"}, "lists no gateway/9 in channel stable, only gateway/1.0, gateway/2.0"),
        ({"release": "other"}, "lists no other"),
        ({"channel": "pilot"}, "only nothing"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(published: Site, changes: dict[str, str], part: str) -> None:
    assert part in refused(published, **changes).message


def test_a_missing_repository_is_told(published: Site) -> None:
    assert refused(published, repository=str(published.folder / "nowhere")).code == "FETCH"


def test_the_releases_before_come_over_http_too_and_one_that_is_gone_is_named(published: Site, url: str) -> None:
    published.publish("2.5", 8)
    over: dict[str, t.Any] = {"from": {"counter": 8}}
    published.publish("3.0", 9, **over)
    bundle = published.fetch("gateway/3.0", repository=url)
    assert bundle.steps == published.fetch("gateway/3.0").steps
    (last,) = (one for one in bundle.steps if one["counter"] == 8)
    (published.path / "targets/stable/gateway" / f"{last['digest']}.2.5.json").unlink()
    found = published.fetch("gateway/3.0", repository=url, cache=published.folder / "new").steps
    assert {one["version"] for one in found if "problem" in one} == {"2.5"}
    assert "404" in next(one["problem"] for one in found if "problem" in one)


def test_a_server_that_is_down_is_told(published: Site) -> None:
    assert refused(published, repository="http://127.0.0.1:9/").code == "FETCH"


def test_expired_metadata_is_refused(published: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "require_accepted", lambda *_arguments: None)
    monkeypatch.setattr(Edit, "_require_clock", lambda *_arguments: None)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    Repository(published.path, now=past).publish("stable", published.document("3.0", 3), published.ring())
    error = refused(published)
    assert error.code == "EXPIRED"
    assert "state: refreshed" in error.message


def test_older_metadata_than_seen_is_refused(published: Site) -> None:
    old = published.folder / "old"
    shutil.copytree(published.path, old)
    published.publish("3.0", 3)
    published.fetch()
    shutil.rmtree(published.path)
    old.rename(published.path)
    assert refused(published).code == "ROLLBACK"


@pytest.mark.parametrize("role", ["timestamp", "3.snapshot", "1.targets", "3.stable"])
def test_changed_metadata_is_refused(published: Site, role: str) -> None:
    path = published.path / "metadata" / f"{role}.json"
    path.write_bytes(path.read_bytes().replace(b'"version":', b'"x-evil":1,"version":'))
    assert refused(published).code in ("THRESHOLD", "METADATA")


def test_a_changed_document_is_refused(published: Site) -> None:
    (document,) = (published.path / "targets" / "stable" / "gateway").glob("*.2.0.json")
    document.write_bytes(document.read_bytes().replace(b'"0755"', b'"0777"'))
    assert refused(published).code == "HASH_MISMATCH"
    assert published.fetch("gateway/1.0").version == "1.0"


def test_a_channel_cannot_speak_for_another(published: Site) -> None:
    """The key of pilot signs a target below stable/: the delegation's paths do not allow that."""
    store = published.repository().store
    content = (published.path / "targets" / "stable" / "gateway").glob("*.2.0.json").__next__().read_bytes()
    other = content.replace(b'"2.0"', b'"9.0"').replace(b'"counter":2', b'"counter":9')
    sign_target(
        published, "pilot", "stable/gateway/9.0.json", other, {"name": "gateway", "version": "9.0", "counter": 9}
    )
    assert "stable/gateway/9.0.json" in store.load().channels["pilot"].signed.targets
    assert published.fetch().version == "2.0"
    assert "lists no" in refused(published, release="gateway/9.0").message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((b'"name":"gateway"', b'"name":"other"'), "METADATA"),
        ((b'"counter":3', b'"counter":4'), "METADATA"),
        ((b'"format":1', b'"format":2'), "RELEASE"),
        ((b'{"counter"', b'{ "counter"'), "RELEASE"),
    ],
)
def test_a_signed_document_must_be_right_and_what_the_channel_says(
    published: Site, change: tuple[bytes, bytes], code: str
) -> None:
    content = next((published.path / "targets" / "stable" / "gateway").glob("*.2.0.json")).read_bytes()
    content = content.replace(b'"version":"2.0"', b'"version":"3.0"').replace(b'"counter":2', b'"counter":3')
    assert change[0] in content
    custom = {"name": "gateway", "version": "3.0", "counter": 3}
    sign_target(published, "stable", "stable/gateway/3.0.json", content.replace(*change), custom)
    assert refused(published).code == code


def test_targets_that_are_no_releases_do_not_disturb(published: Site) -> None:
    sign_target(published, "stable", "stable/notes/readme.txt", b"hello", {})
    custom = {"name": "gateway", "version": "9.0", "counter": 9}
    sign_target(published, "stable", "stable/gateway/8.0.json", b"{}", custom)  # says that it is another one
    assert published.fetch().version == "2.0"


@pytest.mark.parametrize("known", [False, True])
def test_a_channel_that_another_one_hides_is_not_believed(published: Site, known: bool) -> None:
    """TUF asks the delegations in their order: what the first matching one does not list is not there."""
    if known:
        published.fetch()  # the channel's metadata is in the cache
    edit = Edit(published.repository().store.load(), published.ring(), PERIODS, datetime.datetime.now(datetime.UTC))
    delegations = edit.targets.signed.delegations
    assert delegations is not None
    assert delegations.roles is not None
    delegations.roles["pilot"].paths = ["stable/*/*"]
    edit.touched.add("targets")
    published.repository().store.commit(edit.finish())
    assert ("in two ways" if known else "another delegation comes first") in refused(published).message


def sign_target(site: Site, channel: str, target: str, content: bytes, custom: dict[str, t.Any]) -> None:
    """List ``target`` in ``channel`` by hand, signed by the right keys, past the checks of the publishing side."""
    state = site.repository().store.load()
    signers = Ring.load([site.folder / "keys"]).signers
    digest = hashlib.sha256(content).hexdigest()
    role = state.channels[channel]
    role.signed.targets[target] = TargetFile(len(content), {"sha256": digest}, target, {"custom": custom})

    def sign(metadata: Metadata[t.Any], role_name: str, name: str) -> None:
        metadata.sign(t.cast(CryptoSigner, signers[ring.public(site.key(role_name)).keyid]))
        (site.path / "metadata" / name).write_bytes(metadata.to_bytes())

    role.signed.version += 1
    sign(role, channel, f"{role.signed.version}.{channel}.json")
    state.snapshot.signed.meta[f"{channel}.json"].version = role.signed.version
    state.snapshot.signed.version += 1
    sign(state.snapshot, "snapshot", f"{state.snapshot.signed.version}.snapshot.json")
    state.timestamp.signed.snapshot_meta.version = state.snapshot.signed.version
    state.timestamp.signed.version += 1
    sign(state.timestamp, "timestamp", "timestamp.json")
    folder, _slash, name = target.rpartition("/")
    path = site.path / "targets" / folder / f"{digest}.{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
