# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TUF repository in memory that can lie in every way (the idea of python-tuf's repository simulator).

Made with the openssl command and plain JSON on purpose: nothing of the code under test signs for it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

FUTURE = "2199-01-01T00:00:00Z"


def canonical(value: t.Any) -> bytes:
    """OLPC canonical JSON: as compact JSON, but a line feed in a text (there are some in PEM) stands as it is."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("\\n", "\n").encode()


_GENERATE = {
    "ecdsa": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "ed25519": ["ED25519"],
    "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
}
_SCHEMES = {"ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ed25519", "rsa": "rsassa-pss-sha256"}
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")


class Key:
    """A private key file and its TUF key object."""

    def __init__(self, folder: Path, number: int, kind: str = "ecdsa") -> None:
        self.kind = kind
        self.private = folder / ("%s-%d.pem" % (kind, number))
        openssl("genpkey", "-algorithm", *_GENERATE[kind], "-out", str(self.private))
        if kind == "ed25519":
            public = openssl("pkey", "-in", str(self.private), "-pubout", "-outform", "DER")[-32:].hex()
        else:
            public = openssl("pkey", "-in", str(self.private), "-pubout").decode()
        self.public = {"keytype": kind, "scheme": _SCHEMES[kind], "keyval": {"public": public}}
        self.id = hashlib.sha256(canonical(self.public)).hexdigest()

    def sign(self, content: bytes, options: t.Sequence[str] = PSS, digest: str = "sha256") -> str:
        """The signature over ``content``, in hex; ``options`` and ``digest`` are for RSA and ECDSA keys."""
        with tempfile.NamedTemporaryFile() as handle:
            handle.write(content)
            handle.flush()
            if self.kind == "ed25519":
                return openssl("pkeyutl", "-sign", "-inkey", str(self.private), "-rawin", "-in", handle.name).hex()
            more = options if self.kind == "rsa" else ()
            return openssl("dgst", "-" + digest, "-sign", str(self.private), *more, handle.name).hex()


def openssl(*arguments: str) -> bytes:
    """What the openssl command prints."""
    return subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


class Repository:
    """Roles as plain mappings that a test may bend before it asks for a bundle."""

    def __init__(self, keys: t.Sequence[Key], channel: str = "stable", threshold: int = 2) -> None:
        root, targets, online, self.extra = keys[0], keys[1], keys[2], keys[5]
        self.signers = {
            "root": [root],
            "targets": [targets],
            "snapshot": [online],
            "timestamp": [online],
            "delegated": [keys[3], keys[4]][:threshold],
        }
        self.channel = channel
        self.versions = dict.fromkeys(("timestamp", "snapshot", "targets", "delegated"), 1)
        self.expires = dict.fromkeys(("root", "timestamp", "snapshot", "targets", "delegated"), FUTURE)
        self.threshold = threshold
        self.described = True
        self.root_version = 1
        self.targets: dict[str, t.Any] = {}
        self.release = b""
        self.others: list[dict[str, t.Any]] = []
        #: What the top-level role itself lists.
        self.top: dict[str, t.Any] = {}
        self.documents: dict[str, str] = {}
        self.made: dict[t.Any, str] = {}

    def root(self) -> str:
        """The text of root.json."""
        roles = {
            name: {"keyids": [key.id for key in self.signers[name]], "threshold": 1}
            for name in ("root", "targets", "snapshot", "timestamp")
        }
        keys = {key.id: key.public for name in roles for key in self.signers[name]}
        body = {"keys": keys, "roles": roles, "consistent_snapshot": True}
        return self._sign("root", dict(body, _type="root"), self.root_version)

    def publish(self, document: t.Mapping[str, t.Any]) -> None:
        """List ``document`` (a mapping) in the channel and raise every version."""
        self.release = canonical(document) + b"\n"
        target = "%s/%s/%s.json" % (self.channel, document["name"], document["version"])
        described = {"length": len(self.release), "hashes": {"sha256": hashlib.sha256(self.release).hexdigest()}}
        self.targets[target] = described
        self.target = target
        for name in self.versions:
            self.versions[name] += 1

    def delegate(
        self, name: str, paths: list[str], keys: t.Sequence[Key], threshold: int, signers: t.Sequence[Key]
    ) -> None:
        """A further role beside the channel, not terminating; ``signers`` of its ``keys`` sign it."""
        role = {"name": name, "keyids": [key.id for key in keys], "threshold": threshold}
        role.update({"terminating": False, "paths": paths})
        self.others.append({"role": role, "keys": keys, "targets": {}})
        self.signers[name] = list(signers)
        self.versions[name] = 1
        self.expires[name] = FUTURE

    def add(self, name: str, path: str, content: bytes, custom: t.Mapping[str, t.Any] | None = None) -> None:
        """List a document in `targets` or a role that :meth:`delegate` made, and put it into bundles."""
        entry = {"length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}
        if custom is not None:
            entry["custom"] = dict(custom)
        lists = {"targets": self.top, **{other["role"]["name"]: other["targets"] for other in self.others}}
        lists[name][path] = entry
        self.documents[path] = content.decode()
        for role in self.versions:
            self.versions[role] += 1

    def bundle(self, **changes: t.Any) -> dict[str, t.Any]:
        """The bundle of the protocol; ``changes`` replace members."""
        delegated = self._sign("delegated", {"_type": "targets", "targets": self.targets}, self.versions["delegated"])
        delegation = {
            "name": self.channel,
            "keyids": [key.id for key in self.signers["delegated"]],
            "threshold": self.threshold,
            "terminating": True,
            "paths": ["%s/*/*" % self.channel],
        }
        keys = {key.id: key.public for key in self.signers["delegated"]}
        keys.update({key.id: key.public for other in self.others for key in other["keys"]})
        roles = [delegation, *(other["role"] for other in self.others)]
        body = {"_type": "targets", "targets": self.top, "delegations": {"keys": keys, "roles": roles}}
        targets = self._sign("targets", body, self.versions["targets"])
        texts = {self.channel: delegated}
        meta = {
            "targets.json": {"version": self.versions["targets"]},
            "%s.json" % self.channel: {"version": self.versions["delegated"]},
        }
        for other in self.others:
            name = other["role"]["name"]
            meta[name + ".json"] = {"version": self.versions[name]}
            texts[name] = self._sign(name, {"_type": "targets", "targets": other["targets"]}, self.versions[name])
        snapshot = self._sign("snapshot", {"_type": "snapshot", "meta": meta}, self.versions["snapshot"])
        described = {
            "version": self.versions["snapshot"],
            "length": len(snapshot),
            "hashes": {"sha256": hashlib.sha256(snapshot.encode()).hexdigest()},
        }
        if not self.described:
            described = {"version": described["version"]}
        body = {"_type": "timestamp", "meta": {"snapshot.json": described}}
        timestamp = self._sign("timestamp", body, self.versions["timestamp"])
        found = {
            "channel": self.channel,
            "target": self.target,
            "root": [],
            "timestamp": timestamp,
            "snapshot": snapshot,
            "targets": targets,
            "roles": texts,
            "documents": {**self.documents, self.target: self.release.decode()},
        }
        return {**found, **changes}

    def _sign(self, name: str, body: dict[str, t.Any], version: int) -> str:
        signed = copy.deepcopy({"spec_version": "1.0.31", **body, "version": version, "expires": self.expires[name]})
        content = canonical(signed)
        by = (content, *(key.id for key in self.signers[name]))
        if by not in self.made:  # ECDSA never signs alike twice, and a repository does not sign one version twice
            signatures = [{"keyid": key.id, "sig": key.sign(content)} for key in self.signers[name]]
            self.made[by] = json.dumps({"signed": signed, "signatures": signatures})
        return self.made[by]


def past() -> str:
    """An expiry that is over."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
