"""What is imported for the page, and when."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.conftest import make_config

PROGRAM = """
import asyncio, sys
from pathlib import Path
from sidecar.config.load import load
from sidecar.server.run import serve
from sidecar.server.server import Server

def imported():
    return sorted({"jinja2", "markupsafe", "sidecar.page.router"} & set(sys.modules))

async def main():
    server = Server(load(Path(sys.argv[1]), {}, {}), {})
    url, = await server.start()
    print("started", imported())
    for target in ("/_sidecar/status", "/_sidecar/metrics", "/_sidecar/nothing", "/_sidecar/"):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"GET {target} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n".encode())
        print(target, (await reader.read()).split()[1].decode(), imported())
        writer.close()
    await server.stop(0)

asyncio.run(main())
"""


def test_nothing_is_imported_for_the_page_before_somebody_asks_for_it(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config("http://127.0.0.1:9", tmp_path, private_key)
    file = tmp_path / "config.toml"
    file.write_text(
        textwrap.dedent(f"""\
        [jira]
        base_url = "http://127.0.0.1:9"
        consumer_key = "OauthKey"
        private_key = "{config.jira.private_key}"
        [token]
        path = "{config.token.path}"
        [listen]
        addresses = ["127.0.0.1:0"]
        """)
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True
    )
    *before, asked = done.stdout.splitlines()
    assert before == [
        "started []",
        "/_sidecar/status 200 []",
        "/_sidecar/metrics 200 []",
        "/_sidecar/nothing 404 []",
    ]
    assert asked == "/_sidecar/ 200 ['jinja2', 'markupsafe', 'sidecar.page.router']"
