# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A peer for the benchmark only: one module that does the whole visible work, without any of the promises."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import time
import urllib.request

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fetch, check, back up, unpack, switch, restart, look."""
    spec = {name: {"type": "str", "required": True} for name in ("url", "sha256", "version", "health")}
    module = AnsibleModule(argument_spec=spec)
    version = module.params["version"]
    archive = "/var/tmp/gateway.tar.gz"
    state = hashlib.sha256()
    with urllib.request.urlopen(module.params["url"]) as source, open(archive, "wb") as target:
        for block in iter(lambda: source.read(1 << 20), b""):
            state.update(block)
            target.write(block)
    if state.hexdigest() != module.params["sha256"]:
        module.fail_json(msg="wrong checksum")
    current = "/opt/gateway/current"
    if os.path.exists(current):
        with tarfile.open("/var/tmp/gateway-backup.tar.gz", "w:gz") as backup:
            backup.add(os.path.realpath(current), ".")
    release = "/opt/gateway/releases/%s" % version
    os.makedirs(release, exist_ok=True)
    with tarfile.open(archive) as packed:
        packed.extractall(release)
    os.symlink(release, current + ".new")
    os.rename(current + ".new", current)
    subprocess.run([release + "/bin/activate"], cwd=release, check=True)
    subprocess.run(["systemctl", "restart", "gateway.service"], check=True)
    for _attempt in range(100):
        try:
            with urllib.request.urlopen(module.params["health"]) as answer:
                if json.load(answer)["version"] == version:
                    break
        except OSError:
            pass
        time.sleep(0.1)
    else:
        module.fail_json(msg="not healthy")
    os.unlink(archive)
    module.exit_json(changed=True)


main()
