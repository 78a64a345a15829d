# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Sealing a device, at enrolment and with admin rights: settings, one program, one rule of sudo.

The rule lets the controller's login run that program without arguments and nothing else; the program starts the
engine that enrolled the device, in an empty environment, and tells it where its state is. A newer engine gets here
only the same way.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shlex
import stat
import tempfile

from ..base.errors import OtaError
from ..system import background, command, durable
from ..system.layout import Layout
from . import sealed

PROGRAM = "/usr/local/sbin/fleet-ota"
SUDOERS = "/etc/sudoers.d/fleet-ota"

# Ignored signals stay ignored over exec: the owner of the terminal must not be able to stop the engine while it
# holds the device's lock.
_PROGRAM_TEXT = """\
#!/bin/sh
# All that {login} may do on this device, which is sealed. Written by the enrolment of fleet.ota.
trap '' HUP INT QUIT TSTP TTIN TTOU
cd / || exit 1
exec /usr/bin/env -i PATH={path} HOME=/root LC_ALL=C {engine} sealed {root} {state_dir}
"""
_SUDOERS_TEXT = """\
# Written by the enrolment of fleet.ota: one program, without arguments, and nothing of the caller's environment.
Defaults!{program} env_reset, !env_keep, !env_check, !setenv, !requiretty
{login} ALL=(root) NOPASSWD: {program} ""
"""
_RULE = '(root) NOPASSWD: %s ""' % PROGRAM


def files(layout: Layout, settings: sealed.Settings) -> dict[str, tuple[bytes, int]]:
    """What makes this device a sealed one, in the order of writing: path -> content and mode."""
    program = _PROGRAM_TEXT.format(
        login=settings.login,
        path=command.PATH,
        engine=" ".join(shlex.quote(word) for word in background.program()),
        root=shlex.quote(layout.root),
        state_dir=shlex.quote(layout.state_dir),
    )
    rule = _SUDOERS_TEXT.format(program=PROGRAM, login=settings.login)
    document = json.dumps(settings.as_dict(), indent=1, sort_keys=True) + "\n"
    return {
        sealed.path(layout): (document.encode(), 0o600),
        layout.real(PROGRAM): (program.encode(), 0o755),
        layout.real(SUDOERS): (rule.encode(), 0o440),
    }


def is_done(layout: Layout, settings: sealed.Settings) -> bool:
    """Whether all of it is as it has to be."""
    return all(_is(path, content, mode) for path, (content, mode) in files(layout, settings).items())


def require_safe(layout: Layout, settings: sealed.Settings) -> None:
    """OtaError ``SEALED`` if the login could do more than run the program, or the program is not safe from it."""
    if not layout.is_real:
        return  # a directory that plays a device has no logins
    for program in ("sudo", "visudo"):
        if command.which(program) is None:
            raise OtaError("SEALED", "%s is not installed on this device; sealed mode needs sudo" % program)
    try:
        entry = pwd.getpwnam(settings.login)
    except KeyError:
        raise OtaError("SEALED", "there is no login %s on this device; make it first" % settings.login) from None
    others = [grp.getgrgid(group).gr_name for group in _groups(entry) if group != entry.pw_gid]
    if entry.pw_uid == 0 or entry.pw_gid == 0 or others:
        message = "the login %s has more rights than a sealed device allows (uid %d, groups %s); make one of its own"
        raise OtaError("SEALED", message % (settings.login, entry.pw_uid, ", ".join(others) or entry.pw_gid))
    more = [line for line in _allowed(settings.login) if line != _RULE]
    if more:
        message = "the login %s may also run %s by sudo; take that away, or name another login"
        raise OtaError("SEALED", message % (settings.login, "; ".join(more)))
    interpreter, engine = background.program()[0], background.program()[-1]
    for path in (interpreter, engine, PROGRAM, SUDOERS):
        _require_root_only(path, entry)
    if os.stat(layout.state).st_mode & 0o077:
        raise OtaError("SEALED", "%s is open to others than root; chmod 700 it" % layout.state)


def seal(layout: Layout, settings: sealed.Settings) -> None:
    """Write settings and program, then the rule; OtaError ``SEALED`` when sudo does not take it."""
    parts = files(layout, settings)
    if layout.is_real:
        _require_understood(parts[layout.real(SUDOERS)][0])
    for path, (content, mode) in parts.items():
        durable.make_directory(os.path.dirname(path), 0o755)
        durable.write(path, content, mode)
        os.chmod(path, mode)  # whatever umask and leftovers were
    if layout.is_real and _allowed(settings.login) != [_RULE]:
        message = "sudo does not follow %s on this device; let /etc/sudoers include its directory"
        raise OtaError("SEALED", message % SUDOERS)


def _require_understood(rule: bytes) -> None:
    with tempfile.NamedTemporaryFile() as handle:
        handle.write(rule)
        handle.flush()
        result = command.run(["visudo", "-c", "-q", "-f", handle.name])
    if result.rc != 0:
        raise OtaError("SEALED", "sudo of this device does not understand the rule: %s" % result.tail)


def _allowed(login: str) -> list[str]:
    """What ``login`` may run, line by line, as sudo itself tells it."""
    lines = command.run(["sudo", "-n", "-l", "-U", login]).out.splitlines()
    starts = [index for index, line in enumerate(lines) if "may run the following commands" in line]
    return [line.strip() for line in lines[starts[0] + 1 :] if line.strip()] if starts else []


def _groups(entry: pwd.struct_passwd) -> list[int]:
    return os.getgrouplist(entry.pw_name, entry.pw_gid)


def _is(path: str, content: bytes, mode: int) -> bool:
    try:
        info = os.lstat(path)
        with open(path, "rb") as handle:
            return stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == mode and handle.read() == content
    except OSError:
        return False


def _require_root_only(path: str, entry: pwd.struct_passwd) -> None:
    """OtaError ``SEALED`` if the login could change ``path`` or put something else in its place."""
    for start in (path, os.path.realpath(path)):
        place = start
        while True:
            if os.path.lexists(place):
                info = os.stat(place)
                writable = info.st_mode & stat.S_IWOTH or (info.st_mode & stat.S_IWGRP and info.st_gid == entry.pw_gid)
                if info.st_uid != 0 or writable:
                    message = "%s is not owned by root, or other users may write there; sealed mode needs %s"
                    raise OtaError("SEALED", message % (place, path))
            if place == "/":
                break
            place = os.path.dirname(place)
