"""Which variables set options, which are refused, and which are nobody's business of ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.environment import given_by, variable_of
from sidecar.config.settings import OPTIONS, TABLES
from sidecar.errors import ConfigError

SUFFIXES = ("_SERVICE_HOST", "_SERVICE_PORT", "_SERVICE_PORT_HTTP", "_SERVICE_PORT_ADMIN_8089",
            "_PORT", "_PORT_8088_TCP", "_PORT_8088_TCP_PROTO", "_PORT_8088_TCP_PORT",
            "_PORT_8088_TCP_ADDR", "_PORT_53_UDP", "_PORT_53_UDP_ADDR", "_PORT_9_SCTP")  # fmt: skip
"""What kubelet makes of a Service's name (pkg/kubelet/envvars)."""


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SIDECAR_ACCESS_READONLY", "access.read_only"),
        ("SIDECAR_ACCESS_READ_ONLI", "access.read_only"),
        ("SIDECAR_ACCESS__READ_ONLY", "access.read_only"),
        ("SIDECAR__ACCESS__READ_ONLY", "access.read_only"),
        ("SIDECAR_ACCESSREADONLY", "access.read_only"),
        ("SIDECAR_ACCESS_KEYFILE", "access.key_file"),
        ("SIDECAR_JIRA_URL", "jira.base_url"),
        ("SIDECAR_LOGLEVEL", "log.level"),
        ("SIDECAR_LISTEN_ADDRESS", "listen.addresses"),
    ],
)
def test_a_variable_that_nearly_names_a_key_is_refused_with_the_nearest(
    variable: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        given_by({variable: "true"})
    assert caught.value.message == f'"{variable}": the configuration has no such key'
    assert f"{variable_of(meant)}, which sets {meant}?" in caught.value.hint
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("variable", ["SIDECAR_LISTEN", "SIDECAR_ADMIN_", "SIDECAR_LINKS_X_Y_Z"])
def test_a_variable_near_no_key_is_refused_with_those_of_its_table(variable: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given_by({variable: "hush"})
    table = variable.split("_")[1].lower()
    for name in OPTIONS:
        assert (variable_of(name) in caught.value.hint) == name.startswith(f"{table}.")
    assert "hush" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_services_of_kubernetes_stop_no_pod(table: str, suffix: str) -> None:
    for name in (table, f"{table}_tls", f"{table}_read_only"):
        assert given_by({f"SIDECAR_{name.upper()}{suffix}": "tcp://10.0.0.1:8088"}) == {}


@given(st.from_regex(r"[A-Z][A-Z0-9_]{0,12}", fullmatch=True), st.text(min_size=1))
def test_names_that_begin_with_no_table_are_ignored(name: str, text: str) -> None:
    if re.match("|".join(TABLES), name.lower()):
        return
    assert given_by({f"SIDECAR_{name}": text, name: text}) == {}


@given(st.text(alphabet=st.characters(exclude_characters="'\"")))
def test_a_value_is_taken_as_it_is_and_an_empty_one_not_at_all(text: str) -> None:
    expected = {"jira.consumer_key": text} if text else {}
    assert given_by({"SIDECAR_JIRA_CONSUMER_KEY": text, "SIDECAR_ACCESS_READONLY": ""}) == expected


@pytest.mark.parametrize("text", ['"https://jira.example.com"', "'secret'", '"a","b"', ' "x" '])
def test_quotes_that_no_shell_removed_are_pointed_out(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given_by({"SIDECAR_JIRA_PROXY": text})
    assert caught.value.message.startswith("SIDECAR_JIRA_PROXY: the value stands in quotes")
    assert "--env-file" in caught.value.hint
    assert text.strip() not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ['"', "it's", "a 'b'", '"a" b'])
def test_other_quotes_are_part_of_a_value(text: str) -> None:
    assert given_by({"SIDECAR_JIRA_CONSUMER_KEY": text}) == {"jira.consumer_key": text}
