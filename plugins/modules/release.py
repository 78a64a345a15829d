#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/release.py

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Publish, promote, renew and fetch signed releases
description:
  - V(published) reads a release document and its payloads, fills in lengths and digests, and lists the signed result in
    a channel. The same content again changes nothing; other content under the same version, or a counter that is not
    above the channel's newest, is refused.
  - V(promoted) lists in a channel what another channel lists already, the same digest.
  - V(verified) derives the release again from O(source) and its payloads and compares it, to the last byte, with what
    is listed or waits for signatures as a proposal. Run it on your own machine before you sign.
  - V(refreshed) signs again what is close to its expiry. Run it from a timer, at least twice within the timestamp's
    period.
  - V(fetched) verifies the repository from a pinned root with the whole TUF client workflow and keeps the release with
    all that devices need to verify it themselves.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.release.tls
  - fleet.ota.control.signing
  - fleet.ota.control.proposing
options:
  state:
    description: What to do.
    type: str
    choices: [published, promoted, refreshed, verified, fetched]
    default: published
  repository:
    description: The repository's directory; for V(fetched) also its http or https address.
    type: str
    required: true
  source:
    description: The release document, a YAML file. Its payloads are relative to it. Required for V(published)
      and V(verified).
    type: path
  channel:
    description: The channel. Required for all states but V(refreshed).
    type: str
  release:
    description:
      - For V(promoted) C(NAME/VERSION).
      - For V(fetched) C(NAME/VERSION), or C(NAME) for the one with the highest counter in the channel.
    type: str
  attachments:
    description:
      - For V(published) and V(promoted), statements about the release (provenance, test result, SBOM), in-toto v1 in
        DSSE envelopes. They are verified by the fleet's policy before anything is signed, and listed beside the
        release.
      - Those that are listed in any channel already go along by themselves.
    type: list
    elements: path
    default: []
  notify:
    description:
      - Who is told, for V(refreshed), that roles end soon whose keys were not given, as
        O(fleet.ota.gate#module:notify). The event is C(expiring).
    type: list
    elements: dict
    default: []
  raise_versions:
    description:
      - For V(refreshed), by how much the versions of all metadata but root are raised, signed with O(keys). For a
        repository that was restored from a backup; clients that have seen later versions refuse it until then.
        Roles whose keys are not given keep theirs, and are named in RV(expiring).
    type: int
    default: 0
  trust_root:
    description:
      - The file with the pinned root metadata, outside the repository. The repository is verified from it before
        anything is read or signed, so that a repository that an attacker replaced is refused.
      - A directory that does not hold the repository of this root (not mounted, misspelt) is refused, too.
    type: path
    required: true
  cache:
    description:
      - Where V(fetched) keeps verified metadata and payloads, a directory for the controller's user alone.
      - It remembers the newest metadata seen, so that older one is refused.
    type: path
    default: ~/.cache/fleet-ota
seealso:
  - module: fleet.ota.repository
  - module: fleet.ota.proposal
  - module: fleet.ota.plan
"""

EXAMPLES = r"""
- name: Publish a release to the pilots
  fleet.ota.release:
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    source: release.yml
    channel: pilot
    keys: [/srv/ota/keys]
  run_once: true

- name: It proved itself, so list the same digest for everybody
  fleet.ota.release:
    state: promoted
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    release: gateway/2.0
    channel: stable
    keys: [/srv/ota/keys]
  run_once: true

- name: Publish where two people sign, this one with a key of their SSH agent; the other signs the proposal
  fleet.ota.release:
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    source: release.yml
    channel: stable
    keys: ["ssh-agent:"]
    propose: true
  run_once: true

- name: Keep the repository fresh (daily)
  fleet.ota.release:
    state: refreshed
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    keys: [/srv/ota/keys/snapshot.pem, /srv/ota/keys/timestamp.pem]
  run_once: true

- name: Attach what the test bench says when a release is promoted
  fleet.ota.release:
    state: promoted
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    release: gateway/2.0
    channel: stable
    attachments: [results/test-result.intoto.json]
    keys: [/srv/ota/keys]
  run_once: true

- name: Is what I am asked to sign what was built here?
  fleet.ota.release:
    state: verified
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    source: release.yml
    channel: stable
  run_once: true

- name: Verify and fetch the newest release of a channel
  fleet.ota.release:
    state: fetched
    repository: https://ota.example.org/
    trust_root: /srv/ota/root.json
    channel: stable
    release: gateway
  run_once: true
  register: release
"""

RETURN = r"""
release:
  description: The release, or null for V(refreshed).
  returned: success
  type: dict
  contains:
    name: {description: Its name., type: str, returned: success}
    version: {description: Its version., type: str, returned: success}
    counter: {description: Its counter., type: int, returned: success}
    digest: {description: SHA-256 of the signed release document., type: str, returned: success}
    channel: {description: The channel that lists it., type: str, returned: success}
    target: {description: Its TUF target path., type: str, returned: "all states but V(fetched)"}
    length: {description: Bytes of the signed document., type: int, returned: "all states but V(fetched)"}
  sample:
    name: gateway
    version: "2.0"
    counter: 2
    digest: 1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809
    channel: stable
releases:
  description: Everything that is listed afterwards, or for V(refreshed) every role's version and expiry.
  returned: all states but V(fetched)
  type: list
  elements: str
  sample: ["stable: gateway 2.0 (counter 2, digest 1a2b3c4d5e6f)"]
summary_lines:
  description: What came of it, for people.
  returned: for V(published), V(promoted) and V(refreshed)
  type: list
  elements: str
  sample: ["channel stable lists gateway 2.0 (counter 2, sha256 1a2b3c4d5e6f)"]
expiring:
  description:
    - For V(refreshed), roles close to their expiry whose keys were not given. For V(published) and V(promoted), roles
      that end soon.
  returned: all states but V(fetched)
  type: list
  elements: str
proposal:
  description: The proposal that waits for further signatures, as M(fleet.ota.proposal) returns it, or null.
  returned: all states but V(fetched)
  type: dict
digest:
  description: The digest that the inputs give.
  returned: for V(verified)
  type: str
standing:
  description: Where exactly that stands, the channel or proposals.
  returned: for V(verified)
  type: list
  elements: str
  sample: [stable-3-1a2b3c4d5e6f7a8b]
payloads:
  description: The payload files with their digests.
  returned: for V(verified)
  type: list
  elements: str
bundle:
  description: The file with the verified release for other tasks of this collection.
  returned: for V(fetched)
  type: str
document:
  description: The signed release document.
  returned: for V(fetched)
  type: dict
"""
