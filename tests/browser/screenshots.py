"""Takes pictures of the page in all its states:  python -m tests.browser.screenshots FOLDER

Light and dark, on a screen and on a phone.  With names of states behind the folder, of these alone.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.chromium import driving
from tests.support.page_states import STATES, standing

WIDTHS = (1280, 390)


async def take(folder: Path, states: list[str]) -> None:
    with tempfile.TemporaryDirectory() as work:
        async with driving(Path(work) / "profile") as tab:
            for state in states:
                async with standing(state, Path(work) / state) as stand:
                    url = f"http://127.0.0.1:{stand.sidecar.port}/_sidecar/"
                    for dark in (False, True):
                        for width in WIDTHS:
                            await tab.look(width, dark=dark)
                            await tab.open(url)
                            await tab.until("document.getElementById('live-state')?.textContent")
                            name = f"{state}-{'dark' if dark else 'light'}-{width}.png"
                            picture = await tab.screenshot(whole=state == "busy" and not dark)
                            (folder / name).write_bytes(picture)
            sys.stderr.write("\n".join(tab.complaints))


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(take(Path(sys.argv[1]), sys.argv[2:] or list(STATES)))
