"""What the documents name is there: files, folders and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named(pattern: str) -> list[object]:
    """What a pattern finds in the documents, each once, with the document."""
    return [
        pytest.param(found, id=f"{document.name}: {found}")
        for document in DOCUMENTS
        for found in sorted(set(re.findall(pattern, document.read_text(), re.MULTILINE)))
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text()):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """What links may name in a document: its headings, as a forge makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("path", named(r"`((?:[a-z_]+/)+(?:\w+\.\w+)?)(?:::\w+)?`"))
def test_paths_exist(path: str) -> None:
    """Those of ARCHITECTURE.md may begin at a package of ours."""
    assert (ROOT / path).exists() or (ROOT / "sidecar" / path).exists()


@pytest.mark.parametrize("target", named(r"(?:`|^)make ([a-z-]+)"))
def test_commands_of_make_exist(target: str) -> None:
    assert target in TARGETS


def test_every_command_of_make_is_explained() -> None:
    phony = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(phony[0].split()) == TARGETS
