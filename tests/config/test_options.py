"""How values of options are read."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import options
from sidecar.config.options import Kind, TCPAddress, UnixAddress
from sidecar.credentials import Secret

HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20),
)


@given(HOSTS, st.integers(0, 65535))
def test_an_address_reads_back_as_it_is_written(host: str, port: int) -> None:
    address = TCPAddress(host, port)
    assert options.address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8088", TCPAddress("127.0.0.1", 8088)),
        ("[::1]:0", TCPAddress("::1", 0)),
        ("localhost:1", TCPAddress("localhost", 1)),
        ("my_host.internal:65535", TCPAddress("my_host.internal", 65535)),
        ("unix:/run/sidecar/http.sock", UnixAddress(Path("/run/sidecar/http.sock"))),
        ("unix:http.sock", UnixAddress(Path("http.sock"))),
    ],
)
def test_addresses_of_every_form_are_read(text: str, address: options.Address) -> None:
    assert options.address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8088",
        ":8088",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:70000",
        "127.0.0.1:-1",
        "127.0.0.1:8o88",
        "::1:8088",
        "[::1]",
        "[::g]:1",
        "[127.0.0.1]:1",
        "http://127.0.0.1:8088",
        "a b:1",
        "*:8088",
        "unix:",
        "unix:@abstract",
        "127.0.0.1:8088\n",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        options.address(text)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("127.0.0.01", False),
        ("127.1", False),
        ("localhost.evil.test", False),
        ("10.0.0.1", False),
    ],
)
def test_only_loopback_by_its_plain_spelling_is_local(host: str, is_local: bool) -> None:
    assert TCPAddress(host, 1).is_local is is_local


def test_a_unix_socket_is_local() -> None:
    assert UnixAddress(Path("/x")).is_local


def test_an_address_twice_is_refused_but_port_0_may_be() -> None:
    with pytest.raises(ValueError, match="twice"):
        options.addresses(["127.0.0.1:1", "127.0.0.1:1"])
    assert len(options.addresses(["127.0.0.1:0", "127.0.0.1:0"])) == 2


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="one address"):
        options.addresses([])


@pytest.mark.parametrize("text", ["http://proxy:3128", "HTTP://u:p%40w@[::1]:3128/", "http://p"])
def test_a_proxy_is_an_http_url_and_a_secret(text: str) -> None:
    assert options.proxy_url(text) == Secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "proxy:3128",
        "https://u:hunter2@proxy:1",
        "socks5://u:hunter2@proxy",
        "http://u:hunter2@",
        "http://u:hunter2@proxy:0",
        "http://u:hunter2@proxy:70000",
        "http://u:hunter2@proxy/path",
        "http://u:hunter2@proxy?x",
        "http://u:hunter2@pro xy",
        "http://u:hunter2@proxy\n",
    ],
)
def test_another_proxy_is_refused_without_quoting_its_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        options.proxy_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n",
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" + "A" * 1600,
        "line\nbreak",
    ],
)
def test_a_key_where_its_path_belongs_is_refused_unquoted(text: str) -> None:
    with pytest.raises(ValueError, match="path of a file, not what the file holds"):
        options.file_path(text)


@pytest.mark.parametrize("text", ["", "a\0b", "x" * 5000])
def test_what_can_be_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        options.file_path(text)


@pytest.mark.parametrize(("text", "mode"), [("0600", 0o600), ("660", 0o660), ("0777", 0o777)])
def test_a_mode_is_octal(text: str, mode: int) -> None:
    assert options.file_mode(text) == mode


@pytest.mark.parametrize("text", ["999", "0o600", "0x1ff", "1777", "600\n", "0066", "0400", ""])
def test_an_impossible_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"mode|owner"):
        options.file_mode(text)


@pytest.mark.parametrize("value", [0, -1, -0.5, float("inf"), float("nan"), 1e300, 10**500])
def test_an_impossible_duration_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        options.seconds(value)


@pytest.mark.parametrize("value", [1, 0.001, 86400])
def test_a_duration_is_seconds(value: float) -> None:
    assert options.seconds(value) == value


def test_numbers_outside_their_bounds_are_refused() -> None:
    read = options.between(1, 3)
    assert [read(number) for number in (1, 2, 3)] == [1, 2, 3]
    for number in (0, 4, 10**5000):
        with pytest.raises(ValueError, match="from 1 to 3"):
            read(number)


def test_words_are_read_in_any_letter_case() -> None:
    assert options.one_of("text", "json")("JSON") == "json"
    with pytest.raises(ValueError, match='text or json, not "yaml"'):
        options.one_of("text", "json")("yaml")


@pytest.mark.parametrize("text", ["", " key", "key\n", "a\x00b", "a\tb", "\udce9"])
def test_a_consumer_key_with_what_pasting_brings_along_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        options.consumer_key(text)


@pytest.mark.parametrize("text", ["sidecar.internal", "sidecar.internal:8088", "[fd00::1]:80"])
def test_hosts_are_names_with_or_without_port(text: str) -> None:
    assert options.hosts([text]) == (text,)


@pytest.mark.parametrize("text", ["", "http://x", "a/b", "u@h", "*.x", "a b", "a,b", "a\n"])
def test_what_looks_like_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        options.hosts([text])


@pytest.mark.parametrize("text", ["https://tools.example.com", "http://[::1]:3000", "moz-x://a"])
def test_origins_are_scheme_and_authority(text: str) -> None:
    assert options.origins([text]) == (text,)


@pytest.mark.parametrize(
    "text", ["null", "*", "https://*.x", "https://a/b", "a.com", "https://a\n"]
)
def test_what_looks_like_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        options.origins([text])


@pytest.mark.parametrize("text", ["GET /rest/api/*/issue/**", "* /", "post /x"])
def test_rules_are_method_and_path(text: str) -> None:
    assert options.rules([text]) == (text,)


@pytest.mark.parametrize("text", ["", "GET", "/rest", "GET rest", "FETCH /x", "GET /a b", "GET/x"])
def test_what_looks_like_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rule"):
        options.rules([text])


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Kind.TEXT, 1, "must be a string, not an integer"),
        (Kind.WHOLE, True, "must be an integer, not a boolean"),
        (Kind.WHOLE, 1.0, "must be an integer, not a float"),
        (Kind.NUMBER, "1", "must be a number, not a string"),
        (Kind.NUMBER, False, "must be a number, not a boolean"),
        (Kind.SWITCH, 1, "must be true or false, not an integer"),
        (Kind.TEXTS, "a", "must be a list of strings, not a string"),
        (Kind.TEXTS, ["a", 1], "must be a list of strings only"),
        (Kind.TEXT, {}, "must be a string, not a table"),
        (Kind.TEXT, [], "must be a string, not a list"),
        (Kind.TEXT, tomli.loads("a = 1979-05-27")["a"], "must be a string, not a date or time"),
    ],
)
def test_a_wrong_type_is_named(kind: Kind, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        options.check_kind(kind, value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.TEXT, " a,b ", "a,b"),
        (Kind.TEXTS, "a, b,,c ", ["a", "b", "c"]),
        (Kind.WHOLE, "7", 7),
        (Kind.NUMBER, "0.5", 0.5),
        (Kind.SWITCH, "True", True),
        (Kind.SWITCH, "off", False),
    ],
)
def test_a_variable_is_read_by_the_kind_of_its_option(kind: Kind, text: str, value: object) -> None:
    assert options.from_text(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(Kind.WHOLE, "1.5"), (Kind.NUMBER, "ten"), (Kind.SWITCH, "maybe")]
)
def test_a_variable_of_another_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match=f"^must be {kind.value}$"):
        options.from_text(kind, text)


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15),
)


@given(st.one_of(VALUES, st.lists(st.text(st.characters(exclude_categories=["Cs"])))))
def test_any_value_survives_being_written_as_toml(value: object) -> None:
    assert tomli.loads(f"key = {options.to_toml(value)}\n") == {"key": value}
