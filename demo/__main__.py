# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The story: publish, enroll, roll out twice, then a release that is not healthy."""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from pathlib import Path

import yaml

from demo.progress import Playbooks
from demo.world import DEVICES, World


class Story:
    """Tells the steps and remembers what did not go as told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.playbooks = Playbooks(world)
        self.wrong: list[str] = []
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """One step, with the time since the beginning."""
        print(f"\n[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def expect(self, holds: bool, text: str) -> None:
        """Remember ``text`` unless it holds."""
        if not holds:
            self.wrong.append(text)

    def play(self, name: str, *, code: tuple[int, ...] = (0,), **variables: object) -> None:
        """Run a playbook that must end with one of ``code``."""
        got = self.playbooks.run(name, **variables)
        self.expect(got in code, f"fleet.ota.{name} ended with {got}; see {self.playbooks.log}")

    def publish(self, version: int) -> None:
        """Publish one release."""
        self.say(f"publish gateway {version}, signed by anna and ben (two of two)")
        self.play("publish", fleet_ota_source=str(self.world.folder / "releases" / f"release-{version}.yml"))

    def run(self) -> None:
        """The whole story."""
        self.world.make()
        self.publish(1)
        self.say("enroll eight devices: identity and pinned trust root")
        self.play("enroll", fleet_ota_hosts="fleet")
        self.say("roll out gateway 1 in waves")
        self.play("rollout", fleet_ota_hosts="fleet")
        self.expect(self.answers() == dict.fromkeys(DEVICES, "1"), "every device must answer with version 1")
        self.publish(2)
        self.say("roll out gateway 2 in waves")
        self.play("rollout", fleet_ota_hosts="fleet")
        self.expect(self.answers() == dict.fromkeys(DEVICES, "2"), "every device must answer with version 2")
        self.publish(3)
        untouched = {name: self.transaction(name)["id"] for name in DEVICES if name != "dev1"}
        self.say("roll out gateway 3, which installs but answers with an error")
        self.play("rollout", code=(2,), fleet_ota_hosts="fleet")
        self.expect(self.transaction("dev1")["outcome"] == "restored", "the canary must be restored")
        self.expect(self.answers() == dict.fromkeys(DEVICES, "2"), "every device must answer with version 2 again")
        self.expect(
            untouched == {name: self.transaction(name)["id"] for name in untouched}, "the others must not be touched"
        )

    def transaction(self, name: str) -> dict[str, object]:
        """The device's own record."""
        found = json.loads((self.world.device(name) / "var/lib/fleet-ota/transaction.json").read_text())
        assert isinstance(found, dict)
        return found

    def answers(self) -> dict[str, str]:
        """What every device's service answers."""
        hosts = yaml.safe_load((self.world.folder / "inventory.yml").read_text())["all"]["children"]["fleet"]["hosts"]
        found = {}
        for name, variables in hosts.items():
            try:
                url = f"http://127.0.0.1:{variables['fleet_ota_labels']['port']}/health"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    found[name] = str(json.load(answer)["version"])
            except OSError as error:
                found[name] = f"no answer: {error}"
        return found

    def table(self) -> None:
        """Every device with outcome, release and reason."""
        answers = self.answers()
        path = next(self.world.journals.glob("gateway-3-*/journal.jsonl"))
        records = [json.loads(line) for line in path.read_text().splitlines()]
        outcomes = {record["device"]: record for record in records if record["event"] == "device.outcome"}
        print(f"\n{'device':8} {'site':7} {'outcome of 3':13} {'answers':8} reason")
        for name, site in DEVICES.items():
            record = outcomes.get(name, {"outcome": "untouched"})
            reason = f"{record['code']}: {record.get('message', '')}" if record.get("code") else ""
            reason = reason or ("the rollout halted before its wave" if name not in outcomes else "")
            print(f"{name:8} {site:7} {record['outcome']:13} {answers[name]:8} {reason}")


NEXT = """
Look into {folder}:
  inventory.yml  releases/  keys/  repository/  root.json  journal/  ansible.log
  devices/dev1/opt/gateway/current          what is installed there
  devices/dev1/var/lib/fleet-ota            the device's own record of its transactions

Try next, in {folder}:
  {ansible} fleet.ota.status -e fleet_ota_hosts=fleet
  {ansible} fleet.ota.plan -e fleet_ota_hosts=fleet
  {ansible} fleet.ota.rollout -e fleet_ota_hosts=fleet             # dev1 remembers that 3 failed: halted again
  {ansible} fleet.ota.rollback -e fleet_ota_hosts=dev2 -e fleet_ota_rollout_id={rollout}

The eight services go on running until the next demo, or: make demo-stop
"""


def main() -> int:
    """Tell the story; 0 only if it went as told."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo-run"))
    parser.add_argument("--stop", action="store_true", help="stop the services of an earlier demo and nothing else")
    parser.add_argument("--leave-nothing", action="store_true", help="stop the services at the end")
    arguments = parser.parse_args()
    world = World(arguments.folder)
    if arguments.stop:
        world.stop()
        return 0
    story = Story(world)
    try:
        story.run()
        story.table()
    finally:
        if arguments.leave_nothing:
            world.stop()
    if story.wrong:
        print("\nThe story did not go as told:\n  " + "\n  ".join(story.wrong))
        return 1
    rollout = next(path.name for path in world.journals.iterdir() if path.name.startswith("gateway-2-"))
    ansible = Path("..") / ".venv" / "bin" / "ansible-playbook"
    print(f"\nAs told, in {time.monotonic() - story.began:.0f} s: the canary went back, no other device was touched.")
    print(NEXT.format(folder=world.folder, ansible=ansible, rollout=rollout), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
