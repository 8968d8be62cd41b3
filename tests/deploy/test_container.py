"""The Containerfile: what it promises to whoever runs the image."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sidecar.check import running

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text().replace("\\\n", " ")


def last(instruction: str) -> str:
    """The arguments of the last one of an instruction, which is what counts."""
    *_, arguments = re.finditer(rf"^{instruction} +(.*)$", TEXT, re.MULTILINE)
    return arguments[1].strip()


def test_nothing_that_it_runs_needs_a_shell() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["/usr/bin/sidecar"]
    assert json.loads(last("CMD")) == ["run"]
    probe = last("HEALTHCHECK").partition(" CMD ")[2]
    assert json.loads(probe) == ["/usr/bin/sidecar", "check", "--ready"]


def test_the_probe_is_given_more_time_than_it_gives_the_sidecar() -> None:
    match = re.search(r"--timeout=(\d+)s", last("HEALTHCHECK"))
    assert match is not None
    assert int(match[1]) > running.PATIENCE


def test_its_user_is_a_number_so_that_nobody_takes_it_for_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))


def test_the_last_stage_installs_nothing_but_what_the_others_made() -> None:
    final = TEXT.rpartition("\nFROM ")[2]
    assert re.findall(r"^(RUN|ADD|COPY) .*", final, re.MULTILINE) == ["COPY"]
    assert "COPY --from=program" in final


def test_what_it_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE)
    assert copied
    for line in copied:
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
