# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's own way to https repositories: a pinned CA, a client certificate, credentials nobody sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import urls
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import ControlError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.transports import tuf

from tests.unit.device import hostile

CONTENT = b"content" * 1000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> hostile.Authority:
    return hostile.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def servers() -> Iterator[list[hostile.Server]]:
    made: list[hostile.Server] = []
    yield made
    for server in made:
        server.close()


def read(fetcher: tuf.HttpFetcher) -> bytes:
    return b"".join(fetcher.fetch(fetcher.base + "/metadata/timestamp.json"))


def refused(fetcher: tuf.HttpFetcher) -> str:
    """What python-tuf's exceptions say, with their causes."""
    with pytest.raises(Exception) as caught:
        read(fetcher)
    found: BaseException | None = caught.value
    text = ""
    while found:
        text += str(found) + "\n"
        found = found.__cause__
    return text


def tls(authority: hostile.Authority, client: str | None = None) -> dict[str, str]:
    paths = {"ca": str(authority.path)}
    if client:
        path = authority.issue(client)
        paths.update(certificate=str(path), key=str(path.with_suffix(".key")))
    return paths


def test_mutual_tls(authority: hostile.Authority, servers: list[hostile.Server]) -> None:
    context = authority.server(authority.issue("server"), clients=authority.path)
    servers.append(hostile.Server(hostile.honest(CONTENT), context))
    assert read(tuf.HttpFetcher(servers[0].url, tls(authority, "client"))) == CONTENT
    refused(tuf.HttpFetcher(servers[0].url, tls(authority)))
    assert "CERTIFICATE_VERIFY_FAILED" in refused(tuf.HttpFetcher(servers[0].url))
    assert len(servers[0].requests) == 1


def test_a_server_of_another_ca(authority: hostile.Authority, servers: list[hostile.Server], tmp_path: Path) -> None:
    other = hostile.Authority(tmp_path, "other")
    for certificate in (other.issue("server"), authority.issue("expired", days=-1)):
        servers.append(hostile.Server(hostile.honest(CONTENT), other.server(certificate)))
        assert "CERTIFICATE_VERIFY_FAILED" in refused(tuf.HttpFetcher(servers[-1].url, tls(authority)))
        assert servers[-1].requests == []


def test_credentials_are_sent_and_never_shown(servers: list[hostile.Server]) -> None:
    servers.append(hostile.Server(hostile.says(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")))
    url = servers[0].url.replace("//", "//us%40er:s3cr3t@")
    fetcher = tuf.HttpFetcher(url + "/ota/")
    assert fetcher.base == servers[0].url + "/ota"
    assert "s3cr3t" not in refused(fetcher)
    assert b"dXNAZXI6czNjcjN0" in servers[0].requests[0]
    assert urls.shown(url) == servers[0].url.replace("//", "//***@")


def test_credentials_do_not_follow_a_redirect(servers: list[hostile.Server]) -> None:
    servers.append(hostile.Server(hostile.honest(CONTENT)))
    head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {servers[0].url}/x\r\n\r\n"
    servers.append(hostile.Server(hostile.says(head.encode())))
    refused(tuf.HttpFetcher(servers[1].url.replace("//", "//user:s3cr3t@")))
    assert servers[0].requests == []
    assert read(tuf.HttpFetcher(servers[1].url)) == CONTENT  # without any it is as everywhere


@pytest.mark.parametrize("what", ["missing", "encrypted", "swapped", "not PEM"])
def test_files_that_cannot_be_used(authority: hostile.Authority, tmp_path: Path, what: str) -> None:
    paths = tls(authority, "one")
    if what == "missing":
        paths["ca"] = str(tmp_path / "gone.pem")
    elif what == "encrypted":
        path = authority.issue("secret", passphrase=b"x")
        paths.update(certificate=str(path), key=str(path.with_suffix(".key")))
    elif what == "swapped":
        paths["key"] = str(authority.issue("two").with_suffix(".key"))
    else:
        paths["ca"] = paths["key"]
    with pytest.raises(ControlError) as caught:
        tuf.HttpFetcher("https://127.0.0.1:1", paths)
    assert caught.value.code == "TLS"
    assert "cannot be used" in caught.value.message
