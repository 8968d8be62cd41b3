"""Whatever is put into a template is text: it can be no markup, and acts upon no screen."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from sidecar.html import rendering
from sidecar.html.rendering import STYLE, STYLE_HASH, Templates, breakable

ROOT = Path(__file__).parents[2] / "sidecar"
MARKUP = "<img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


def message(title: str, **values: object) -> str:
    given = {"level": "good", "paragraphs": [], "commands": [], **values}
    return Templates("sidecar.page").render("message.html", title=title, **given).decode()


def test_markup_is_shown_as_it_is_written() -> None:
    page = message(MARKUP, paragraphs=[MARKUP], commands=[MARKUP])
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;{{ 7*7 }}") == 4


def test_nothing_acts_upon_a_terminal_or_turns_the_text_round() -> None:
    page = message("\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u200b", paragraphs=["one\ntwo"])
    assert "\N{REPLACEMENT CHARACTER}[31mred" in page
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e\u200b]", page)
    assert "<p>one\ntwo</p>" in page


@given(st.text(max_size=40))
def test_no_text_changes_what_the_page_is_made_of(text: str) -> None:
    tags = re.compile(r"<[^>]*>")
    assert tags.findall(message(text, paragraphs=[text])) == tags.findall(
        message("x", paragraphs=["x"])
    )


@given(st.text("a/. :<&\u202e", max_size=40))
def test_a_long_line_breaks_behind_slashes_and_its_text_stays(text: str) -> None:
    pieces = breakable(text).split("<wbr>")
    assert unescape("".join(pieces)) == text.replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    for before, after in pairwise(pieces):
        assert before.endswith("/")
        assert not before.endswith("//")
        assert not after.startswith("/")


def test_a_line_to_copy_may_break_in_its_url() -> None:
    line = "curl http://localhost:8088/rest/api/2/myself"
    page = message("x", commands=[line])
    assert "curl http://localhost:8088/<wbr>rest/<wbr>api/<wbr>2/<wbr>myself</code>" in page


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        Templates("sidecar.page").render("message.html", title="x")


def test_a_page_that_stands_alone_brings_the_style_that_its_policy_names() -> None:
    page = Templates("sidecar.page").render_alone(
        "message.html", title="Done", level="good", paragraphs=[], commands=[]
    )
    assert f"<style>{STYLE}</style>".encode() in page
    assert len(STYLE_HASH) == 44
    assert b'href="/' not in page


def test_no_template_and_no_script_of_ours_makes_markup_of_text() -> None:
    for path in [*ROOT.rglob("*.html"), *ROOT.rglob("*.js")]:
        text = path.read_text()
        for word in ("|safe", "| safe", "autoescape", "innerHTML", "outerHTML", "insertAdjacent",
                     "document.write", "DOMParser", "eval(", "style=", " on"):  # fmt: skip
            found = re.search(re.escape(word) + (r"\w+=" if word == " on" else ""), text)
            assert not found, f"{path}: {word}"


def test_markup_is_made_in_one_place() -> None:
    found = [path.name for path in ROOT.rglob("*.py") if "Markup(" in path.read_text()]
    assert found == [Path(rendering.__file__).name]
