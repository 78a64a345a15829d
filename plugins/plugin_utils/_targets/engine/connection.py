# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One device, over the connection that Ansible has to it.

The engine lies on the device under its digest; a request is one command with JSON on standard input, so a call costs
one round trip of the connection and no module transfer (FACTS: 9 network round trips and 4 kB against 10 to 27 and
163 kB per module call).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shlex
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase
from ansible.utils.path import unfrackpath

from ..base import Link, Reply
from ..errors import DeviceLost, DeviceRefusal
from .zipapp import program

if t.TYPE_CHECKING:
    from ansible.plugins.action import ActionBase

_NO_RIGHT, _NO_ENGINE, _NO_PYTHON, _NOT_SEALED = 96, 97, 98, 99
#: What the login of a sealed device may run (``_device/enrolment/seal.py``); the device itself says whether it is one.
SEALED_PROGRAM = "/usr/local/sbin/fleet-ota"
#: Receives the program on standard input and puts it where it belongs, whole and durable.
RECEIVE = """
import hashlib, os, sys
path = sys.argv[1]
content = sys.stdin.buffer.read()
if hashlib.sha256(content).hexdigest() != os.path.basename(path)[:-4]:
    sys.exit("the program did not arrive whole")
fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.write(fd, content) == len(content) or sys.exit("no space for the program")
os.fsync(fd)
os.rename(path + ".new", path)
fd = os.open(os.path.dirname(path), os.O_RDONLY)
os.fsync(fd)
try:
    sys.path.insert(0, path)
    from fleet_ota.system import bytecode
    bytecode.write(path)
except Exception:
    pass  # it saves time only, and the first call tells what is wrong with this Python
"""
#: Detects a dead link in about 15 s; a shared connection made with other options would not.
_ALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
PIECE = 8 << 20
#: What restricted shells, nologin(8) and false(1) in their place say instead of running a command.
_NO_SHELL = re.compile(r"account is (currently )?not available|restricted: cannot|: restricted$|nologin", re.M)


class Device(Link):
    """The link to the engine on the device of ``action``'s task.

    ``root`` and ``state_dir`` are as in the protocol; ``python`` is an interpreter or None for whatever is there.
    """

    kind = "engine"

    def __init__(
        self, action: ActionBase, *, root: str, state_dir: str, python: str | None = None, name: str = "the device"
    ) -> None:
        super().__init__(name)
        self._action = action
        self.root = root
        self.state_dir = state_dir
        self._python = python
        #: Temporary folders on the device that are still there.
        self._folders: list[str] = []
        self._ssh_args = self._prepare_ssh()

    def ask(self, verb: str, data: bytes = b"", /, *, fresh: bool = False, **request: t.Any) -> Reply:
        """The engine's reply; see :meth:`Link.call`."""
        line = {"v": 1, "verb": verb, "root": self.root, "state_dir": self.state_dir, **request}
        content = json.dumps(line).encode() + b"\n" + data
        with self._fresh() if fresh else contextlib.nullcontext():
            result = self._run(self._command(), content)
            if result["rc"] == _NO_ENGINE:
                self._send_engine()
                result = self._run(self._command(), content)
        return self._reply(result)

    def push(self, sha256: str, length: int, offset: int, path: pathlib.Path) -> None:
        """Stage a payload file in pieces, from ``offset`` on, over the existing connection.

        What was there already may be to blame for wrong bytes, when the power went before they were on the disk: then
        all of it is sent once more.
        """
        try:
            self._push(sha256, length, offset, path)
        except DeviceRefusal as error:
            if error.code != "HASH_MISMATCH" or not offset:
                raise
            self._push(sha256, length, 0, path)

    def _push(self, sha256: str, length: int, offset: int, path: pathlib.Path) -> None:
        with open(path, "rb") as handle:
            handle.seek(offset)
            while True:  # at least one piece: a file that arrived whole may still have to be taken over
                piece = handle.read(min(PIECE, length - offset))
                put = {"sha256": sha256, "length": length, "offset": offset, "size": len(piece)}
                self.call("stage", piece, put=put)
                offset += len(piece)
                if offset >= length or not piece:
                    break

    # -- commands ------------------------------------------------------------------------------------------------

    def _engine_path(self) -> str:
        folder = os.path.normpath(self.root.rstrip("/") + "/" + self.state_dir.lstrip("/"))
        return f"{folder}/engine/{program().digest}.pyz"

    def _find_python(self) -> str:
        if self._python:
            return f"P={shlex.quote(self._python)}; command -v $P >/dev/null || exit {_NO_PYTHON}"
        return f"P=$(command -v /usr/bin/python3 || command -v python3) || exit {_NO_PYTHON}"

    def _command(self) -> str:
        engine = shlex.quote(self._engine_path())
        start = f"{self._find_python()}; test -f {engine} || exit {_NO_ENGINE}; exec $P -I -S -B {engine}"
        return self._sealed() + start

    def _sealed(self) -> str:
        """Whoever is not root on a sealed device asks its one program; found out on the way, at no round trip."""
        if self.root != "/":
            return ""  # a directory that plays a device
        ask = "if test -x %s && test $(id -u) != 0; then sudo -n %s; R=$?; test $R != 1 || exit %d; exit $R; fi; "
        return ask % (SEALED_PROGRAM, SEALED_PROGRAM, _NOT_SEALED)

    def _send_engine(self) -> None:
        path = shlex.quote(self._engine_path())
        folder = shlex.quote(os.path.dirname(self._engine_path()))
        make = f"mkdir -p {folder} || {{ test $(id -u) = 0 && exit 1; exit {_NO_RIGHT}; }}"
        # Login shells that are no POSIX shells (csh, fish) read line feeds, '!' and backslashes between quotes too.
        code = f"exec(bytes.fromhex({RECEIVE.encode().hex()!r}))".replace("'", '"')
        command = f"{self._find_python()}; umask 077; {make}; exec $P -I -S -B -c {shlex.quote(code)} {path}"
        result = self._run(command, program().content)
        if result["rc"] != 0:
            self._python_missing(result)
            self._shell_missing(result)
            told = f"the engine could not be put on the device: {_tail(result)}"
            if result["rc"] == _NO_RIGHT:
                told += "; this login is not root there: run with --become (ansible_become), or log in as root"
            raise DeviceRefusal("ENGINE", told)

    def _run(self, command: str, content: bytes) -> dict[str, t.Any]:
        action = self._action
        try:
            if getattr(action._connection, "has_pipelining", False):
                result = action._low_level_execute_command(command, in_data=content)
            else:
                result = self._through_file(command, content)
        except (AnsibleConnectionFailure, BrokenPipeError) as error:
            raise DeviceLost(str(error)) from error
        except AnsibleError as error:  # a password of sudo that is wrong or missing, for one
            message = "%s; give the right login, or become password (--ask-become-pass, ansible_become_password)"
            # the device is not to blame, and the next run has the right one; once it has answered, nobody knows here
            # what it is at
            outcome = "timed_out" if self.answered else "deferred"
            raise DeviceRefusal("LOGIN", message % self._without_secrets(str(error)), outcome) from error
        self.answered = True
        return t.cast("dict[str, t.Any]", result)

    def _through_file(self, command: str, content: bytes) -> t.Any:
        """For connections without standard input (paramiko): by a temporary file, which is gone as soon as it is open.

        It may hold a private key. What calls left that were cut before goes with it.
        """
        action = self._action
        folder = action._make_tmp_path()
        self._folders.append(folder)
        path = action._connection._shell.join_path(folder, "request")
        action._transfer_data(path, content)
        gone = " ".join(shlex.quote(one) for one in self._folders)
        result = action._low_level_execute_command(f"{{ rm -rf {gone}; {command}; }} < {shlex.quote(path)}")
        self._folders.clear()
        return result

    def _without_secrets(self, text: str) -> str:
        """``text`` in one line, without passwords of the login; connections tell what a device said to them."""
        connection, secrets = self._action._connection, []
        become: t.Any = getattr(connection, "become", None)
        for plugin, option in ((connection, "password"), (become, "become_pass")):
            with contextlib.suppress(AttributeError, KeyError, AnsibleError):  # some have neither
                secrets.append(str(plugin.get_option(option) or ""))
        for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may begin with the other
            text = text.replace(secret, "********")
        return " ".join(text.split())

    def _reply(self, result: t.Mapping[str, t.Any]) -> Reply:
        self._python_missing(result)
        self._shell_missing(result)
        if result["rc"] == _NOT_SEALED:  # what sudo says no with; the engine itself always ends with 0
            message = "this login may not run %s (%s); use the login with which the device was sealed, or admin rights"
            raise DeviceRefusal("SEALED", message % (SEALED_PROGRAM, _tail(result)))
        lines = str(result["stdout"]).strip().splitlines()
        try:
            reply = json.loads(lines[-1]) if lines else None
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            if result["rc"] in (-9, 137, 143):  # killed in the middle: as good as a lost link
                raise DeviceLost("the engine was killed")
            raise DeviceRefusal("ENGINE", f"the engine gave no answer (exit code {result['rc']}): {_tail(result)}")
        if "error" in reply:
            error = reply["error"]
            raise DeviceRefusal(error["code"], error["message"], reply.get("outcome"), error.get("detail"))
        return reply

    def _python_missing(self, result: t.Mapping[str, t.Any]) -> None:
        if result["rc"] == _NO_PYTHON:
            wanted = self._python or "python3"
            raise DeviceRefusal("NO_PYTHON", f"{wanted} was not found; install Python 3.8 or newer there")

    def _shell_missing(self, result: t.Mapping[str, t.Any]) -> None:
        """A login that may run nothing never got as far as the device's engine: nothing was touched."""
        tail = _tail(result)
        if result["rc"] in (1, 126, 127) and _NO_SHELL.search(tail):
            message = "the login's shell runs no commands (%s); give it a shell there (usermod --shell /bin/sh)"
            raise DeviceRefusal("LOGIN", message % tail, "deferred")

    # -- ssh: the first value of an option wins, and ssh_args come first ------------------------------------------

    def _prepare_ssh(self) -> str | None:
        """Share a connection of our own that notices a dead link; one that others made before may hang for minutes.

        Returns the user's own ``ssh_args``, or None where the connection is not ssh.
        """
        connection = self._action._connection
        if str(getattr(connection, "transport", "")).rsplit(".", maxsplit=1)[-1] != "ssh":
            return None
        own = str(connection.get_option("ssh_args") or "")
        every = " ".join(
            [own, *(str(connection.get_option(name) or "") for name in ("ssh_common_args", "ssh_extra_args"))]
        )
        path = ""
        if "controlpersist" in every.lower() and "controlpath" not in every.lower():
            folder = str(unfrackpath(connection.get_option("control_path_dir")))
            os.makedirs(folder, 0o700, exist_ok=True)
            path = f"-o ControlPath={folder}/ota-%C "
        connection.set_option("ssh_args", f"{path}{own} {_ALIVE}")
        return own

    @contextlib.contextmanager
    def _fresh(self) -> t.Iterator[None]:
        """A connection that is shared with nothing: proof that the device can be reached anew."""
        connection = self._action._connection
        if self._ssh_args is None:
            # paramiko keeps one for as long as the process lives, which has applied what is confirmed now
            if type(connection).reset is not ConnectionBase.reset:
                self.forget_connection()
            yield
            return
        shared = connection.get_option("ssh_args")
        connection.set_option("ssh_args", f"-o ControlPath=none {self._ssh_args} {_ALIVE}")
        try:
            yield
        finally:
            connection.set_option("ssh_args", shared)

    def forget_connection(self) -> None:
        """Drop a shared connection that may be dead."""
        with contextlib.suppress(AnsibleError, OSError, AttributeError):
            self._action._connection.reset()


def _tail(result: t.Mapping[str, t.Any]) -> str:
    text = (str(result.get("stderr", "")) + "\n" + str(result.get("stdout", ""))).strip()
    return " | ".join(text.splitlines()[-4:])
