# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of a file that others change too only the records of the change go back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.payloads import deb
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.snapshots._shared import (
    AFTER,
    BEFORE,
    EXPECTED,
    Form,
    Shared,
)
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

STATUS, PASSWD = "/status", "/passwd"
FORMS = {STATUS: Form("stanzas", ("Package", "Architecture")), PASSWD: Form("accounts")}


def stanza(name: str, version: str) -> str:
    return "Package: %s\nArchitecture: all\nVersion: %s\nDescription: x\n .\n more\n\n" % (name, version)


@pytest.fixture()
def shared(tmp_path: Path) -> Shared:
    """`app 1` and `other 1` are installed; the change brings `app 2`, `codec 1` and the account `meter`."""
    layout = Layout(str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    write(layout, STATUS, stanza("app", "1") + stanza("other", "1"))
    write(layout, PASSWD, "root:x:0\nadmin:x:1000\n")
    files = Shared(layout, str(tmp_path / "kept"), FORMS, ["app", "codec"])
    files.keep(BEFORE)
    write(layout, STATUS, stanza("app", "2") + stanza("codec", "1") + stanza("other", "1"))
    write(layout, PASSWD, "root:x:0\nadmin:x:1000\nmeter:x:999\n")
    return files


def write(layout: Layout, path: str, text: str) -> None:
    Path(layout.real(path)).write_text(text)


def read(shared: Shared, path: str) -> str:
    return Path(shared.layout.real(path)).read_text()


def test_alone_it_goes_back_to_the_last_byte_and_time(shared: Shared) -> None:
    shared.keep(AFTER)
    os.utime(shared.layout.real(STATUS), ns=(7, 7))
    assert shared.remaining() == [STATUS, PASSWD]
    assert shared.restore() == [STATUS, PASSWD]
    assert read(shared, STATUS) == stanza("app", "1") + stanza("other", "1")
    assert read(shared, PASSWD) == "root:x:0\nadmin:x:1000\n"
    assert os.stat(shared.layout.real(STATUS)).st_mtime_ns != 7
    assert shared.restore() == [] and shared.remaining() == []


def test_what_others_entered_since_stays(shared: Shared) -> None:
    shared.keep(AFTER)
    write(shared.layout, STATUS, stanza("app", "2") + stanza("codec", "1") + stanza("other", "3") + stanza("new", "1"))
    write(shared.layout, PASSWD, "root:x:0\nadmin:changed:1000\nmeter:x:999\nguest:x:1001\n")
    assert shared.conflicts() == []
    assert shared.packages_of_others() == {"other", "new"}
    shared.restore()
    assert shared.remaining() == []
    assert shared.packages_of_others() == {"other", "new"}
    records = FORMS[STATUS].parse(read(shared, STATUS))
    assert [block.split("\n")[2] for block in records.values()] == ["Version: 1", "Version: 3", "Version: 1"]
    assert list(records) == ["app all", "other all", "new all"]
    assert read(shared, PASSWD) == "root:x:0\nadmin:changed:1000\nguest:x:1001\n"


@pytest.mark.parametrize("expected", [True, False])
def test_a_change_that_was_interrupted_is_known_by_its_rehearsal_or_its_packages(
    shared: Shared, expected: bool
) -> None:
    if expected:
        texts = {path: read(shared, path) for path in FORMS}
        shared.keep(EXPECTED, texts.get)
    write(shared.layout, STATUS, read(shared, STATUS) + stanza("new", "1"))
    shared.restore()
    assert list(FORMS[STATUS].parse(read(shared, STATUS))) == ["app all", "other all", "new all"]
    assert ("meter" in read(shared, PASSWD)) is not expected, "no package is named in an account"


def test_a_record_of_the_change_that_others_changed_since_is_a_conflict(shared: Shared) -> None:
    shared.keep(AFTER)
    write(shared.layout, STATUS, stanza("app", "9") + stanza("other", "1"))
    assert shared.conflicts() == ["/status: app all", "/status: codec all"] or shared.conflicts() == [
        "/status: app all"
    ]


def test_a_file_that_was_not_there_goes_again(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    files = Shared(layout, str(tmp_path / "kept"), {"/diversions": Form("groups", size=3)})
    files.keep(BEFORE)
    write(layout, "/diversions", "/usr/bin/who\n/usr/bin/who.distrib\nwrapper\n")
    files.keep(AFTER)
    files.restore()
    assert not (tmp_path / "diversions").exists()
    assert files.remaining() == []


def test_an_account_keeps_all_of_its_ranges(tmp_path: Path) -> None:
    layout, form = Layout(str(tmp_path)), deb.FORMS["/etc/subuid"]
    files = Shared(layout, str(tmp_path / "kept"), {"/subuid": form})
    write(layout, "/subuid", "a:1:9\na:20:9\n")
    files.keep(BEFORE)
    write(layout, "/subuid", "a:1:9\na:20:9\nmeter:30:9\n")
    files.keep(AFTER)
    write(layout, "/subuid", "a:1:9\na:20:9\nmeter:30:9\nb:40:9\n")
    files.restore()
    assert read(files, "/subuid") == "a:1:9\na:20:9\nb:40:9\n"


def test_a_file_that_came_with_the_change_keeps_what_others_entered(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    files = Shared(layout, str(tmp_path / "kept"), {PASSWD: Form("lines")})
    files.keep(BEFORE)
    write(layout, PASSWD, "meter\n")
    files.keep(AFTER)
    write(layout, PASSWD, "meter\nadmin\n")
    files.restore()
    assert read(files, PASSWD) == "admin\n"
    write(layout, PASSWD, "meter\n")
    files.restore()
    assert not os.path.exists(layout.real(PASSWD))


def test_a_stanza_without_a_name_is_nobodys(shared: Shared) -> None:
    write(shared.layout, STATUS, "Odd: 1\n\n" + stanza("app", "2"))
    shared.restore()
    assert "Odd: 1" in read(shared, STATUS) and stanza("app", "1") in read(shared, STATUS)


def test_what_a_way_back_takes_away_can_be_brought_back(shared: Shared, tmp_path: Path) -> None:
    shared.keep(AFTER)
    forward = Shared(shared.layout, str(tmp_path / "forward"), FORMS, ["app", "codec"])
    forward.keep(BEFORE)
    forward.keep(EXPECTED, shared.expected().get)
    shared.restore()
    assert "meter" not in read(shared, PASSWD)
    forward.restore()  # this rollback did not come to be healthy
    assert "meter:x:999" in read(shared, PASSWD)
    assert not forward.remaining()


def test_what_an_interrupted_dpkg_did_not_enter_yet_goes_back_too(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"))
    updates = Path(layout.real("/updates"))
    updates.mkdir(parents=True)
    form = FORMS[STATUS]._replace(pending="/updates")
    write(layout, STATUS, stanza("app", "1") + stanza("other", "1"))
    files = Shared(layout, str(tmp_path / "kept"), {STATUS: form}, ["app", "codec"])
    files.keep(BEFORE)
    later = [stanza("app", "2"), stanza("codec", "1"), stanza("other", "2"), stanza("other", "3")]
    for number, text in enumerate(later):
        (updates / ("%04d" % number)).write_text(text)
    assert files.remaining() == [STATUS] and files.packages_of_others() == {"other"}
    assert files.restore() == [STATUS]
    assert read(files, STATUS) == stanza("app", "1") + stanza("other", "3")
    assert list(updates.iterdir()) == [] and files.remaining() == []


def test_triggers_that_an_interrupted_run_had_still_to_call_are_its_own(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "device"))
    form = FORMS[STATUS]._replace(pending="/updates")
    status, updates = Path(layout.real(STATUS)), Path(layout.real("/updates"))
    for folder in (status.parent, updates):
        folder.mkdir(parents=True)
    compiler = "Package: compiler\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
    other = "Package: other\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
    status.write_text(f"{compiler}\n{other}\n")
    shared = Shared(layout, str(tmp_path / "copies"), {STATUS: form}, ["app"])
    shared.keep(BEFORE)
    called = compiler.replace("installed", "triggers-pending") + "Triggers-Pending: /usr/share/schemas\n"
    newer = other.replace("Version: 1", "Version: 2").replace("installed", "triggers-pending")
    status.write_text(f"{called}\n{newer}\n")
    (updates / "tmp.i").write_text("cut off")
    assert shared.packages_of_others() == {"other"}
    assert shared.restore() == [STATUS]
    assert status.read_text() == f"{compiler}\n{newer}\n"
    assert shared.remaining() == [] and not list(updates.iterdir())


def test_an_account_that_others_made_during_the_change_stays(shared: Shared) -> None:
    shared.keep(EXPECTED)
    write(shared.layout, PASSWD, read(shared, PASSWD) + "guest:x:1001\n")
    shared.keep(AFTER)
    assert PASSWD in shared.restore()
    assert read(shared, PASSWD) == "root:x:0\nadmin:x:1000\nguest:x:1001\n"
    assert shared.remaining() == []
