# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""systemd units: what they are doing, and starting and stopping them with a result."""

from __future__ import annotations

import re
import typing as t

from ...base.errors import OtaError
from .manager import ALIVE, Failures, Manager, Properties, ended_well

__all__ = ["ALIVE", "Failures", "Manager", "Properties", "ended_well"]

_TEMPLATE = re.compile(r"@\.[a-z]+$")


def show(names: t.Sequence[str]) -> dict[str, Properties]:
    """``systemctl show`` of ``names`` of the machine's systemd."""
    return Manager().show(names)


def active(names: t.Sequence[str]) -> list[str]:
    """Which of ``names`` are running or about to."""
    return [name for name, properties in show(names).items() if properties.get("ActiveState") in ALIVE]


def failed() -> set[str]:
    """Every unit that systemd holds as failed; OtaError ``ENGINE`` if it gives no answer."""
    return Manager().failed()


def is_template(name: str) -> bool:
    """Whether ``name`` is a template, of which only instances run."""
    return bool(_TEMPLATE.search(name))


def template(name: str) -> str:
    """The template of an instance; ``name`` itself where it is none."""
    stem, ending = name.rpartition(".")[::2]
    return "%s@.%s" % (stem.partition("@")[0], ending) if "@" in stem else name


def own_names(names: t.Iterable[str]) -> list[str]:
    """``names`` as systemd lists them: of an alias the unit that it stands for, the same of what is not there."""
    given = set(names)
    single = sorted(name for name in given if not is_template(name))
    try:
        shown = Manager().show(single)
    except OtaError:  # without an answer they are what they are called
        return sorted(given)
    return sorted({*(given - set(single)), *(unit.get("Id") or name for name, unit in shown.items())})


def instances(names: t.Iterable[str], known: t.Iterable[str]) -> list[str]:
    """``names`` in their order, each once, with each template replaced by its instances among the ``known`` units."""
    wanted = list(dict.fromkeys(names))
    known = sorted(name for name in known if "@" in name and name not in wanted)
    several = ([name] if not is_template(name) else [one for one in known if template(one) == name] for name in wanted)
    return [name for part in several for name in part]


def running_instances(names: t.Sequence[str]) -> list[str]:
    """``names`` with each template replaced by its instances that run; systemd is asked for all of its units only then.

    OtaError ``ENGINE`` if it gives no answer.
    """
    known = Manager().loaded() if any(map(is_template, names)) else {}
    return instances(names, [name for name, unit in known.items() if unit.get("ActiveState") in ALIVE])


def restart(names: t.Sequence[str]) -> Failures:
    """Read unit files anew, restart ``names`` in this order, each once, and wait until they run.

    Returns the reasons of those that do not, by name. A template stands for those of its instances that run.
    OtaError if systemd refuses to read its unit files.
    """
    if not names:
        return {}
    manager = Manager()
    manager.reload()
    return manager.restart(running_instances(names))
