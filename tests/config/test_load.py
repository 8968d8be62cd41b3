"""Where configuration comes from, and how errors in it are told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config import places, rendering
from sidecar.config.load import Config, TCPAddress, UnixAddress, load, token_path, variable_of
from sidecar.config.settings import OPTIONS, TABLES
from sidecar.credentials import Secret
from sidecar.errors import ConfigError, SidecarError, UsageError
from sidecar.http.target import BaseURL
from tests.support.services import Manager
from tests.support.waiting import PATIENCE

BASE = '[jira]\nbase_url = "https://jira.example.com"\nconsumer_key = "OauthKey"\n'
ENVIRON = {
    "HOME": "/home/alana",
    "SIDECAR_JIRA_BASE_URL": "https://jira.example.com",
    "SIDECAR_JIRA_CONSUMER_KEY": "OauthKey",
}


@pytest.fixture(autouse=True)
def _no_system_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(
    file: Path | None = None,
    text: str = "",
    environ: Mapping[str, str] | None = None,
    **overrides: object,
) -> Config:
    """Load BASE and `text` from `file`; overrides are spelled `log__level`."""
    if file:
        file.write_text(BASE + text)
    flags = {name.replace("__", "."): value for name, value in overrides.items()}
    return load(file, environ or {"HOME": "/home/alana"}, flags)


def refusal(
    file: Path | None, text: str = "", environ: Mapping[str, str] | None = None, **overrides: object
) -> SidecarError:
    """Return the error that loading gives; every one has a hint of one line."""
    with pytest.raises(SidecarError) as caught:
        loaded(file, text, environ, **overrides)
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def refusal_at(
    line: int, name: str, file: Path, text: str, environ: Mapping[str, str] | None = None
) -> SidecarError:
    """Return the error that loading gives, which names a key and the line where it stands."""
    error = refusal(file, text, environ)
    assert str(error).startswith(f"{file}:{line}: {name}: ")
    assert error.exit_code == 78
    return error


# --- defaults ---


def test_the_environment_alone_suffices_and_the_rest_is_the_contracts_defaults() -> None:
    found = load(None, ENVIRON, {})
    jira, limits, timeouts, access = found.jira, found.limits, found.timeouts, found.access
    assert (jira.base_url, jira.consumer_key) == (
        BaseURL.parse("https://jira.example.com"),
        "OauthKey",
    )
    assert jira.private_key == Path.cwd() / "private_key.pem"
    assert jira.signing_url == jira.base_url
    assert (jira.private_key_passphrase_file, jira.ca_file, jira.proxy) == (None, None, None)
    assert (jira.client_certificate, jira.client_key) == (None, None)
    assert found.token.path == Path("/home/alana/.local/state/sidecar/token.json")
    assert found.listen.addresses == (TCPAddress("127.0.0.1", 8088), TCPAddress("::1", 8088))
    assert found.listen.unix_mode == 0o600
    assert (found.listen.tls_certificate, found.listen.tls_key) == (None, None)
    assert (access.hosts, access.origins, access.allow, access.deny) == ((), (), (), ())
    assert (access.key_file, access.read_only) == (None, False)
    assert (jira.two_legged, jira.act_as, access.act_as) == (False, None, ())
    assert found.links.rewrite is True
    assert (timeouts.connect, timeouts.response, timeouts.idle, timeouts.shutdown) == (
        10,
        120,
        60,
        30,
    )
    assert (limits.connections, limits.waiting) == (100, 1000)
    assert (limits.form_bytes, limits.head_bytes) == (2 * 1024 * 1024, 64 * 1024)
    assert (found.log.format, found.log.level) == ("text", "info")
    assert found.admin.address is None
    assert found.path is None
    assert found.warnings() == []


def test_systemds_credentials_are_the_default_where_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "private_key").touch()
    environ = {**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": "/var/lib/s"}
    found = load(None, environ, {})
    assert found.jira.private_key == tmp_path / "private_key"
    assert found.jira.private_key_passphrase_file is None
    assert found.token.path == Path("/var/lib/s/token.json")
    (tmp_path / "passphrase").touch()
    found = load(None, environ, {"jira.private_key": "/k.pem"})
    assert found.jira.private_key == Path("/k.pem")
    assert found.jira.private_key_passphrase_file == tmp_path / "passphrase"


def test_the_tokens_place_is_known_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_path({"HOME": "/h"}) == Path("/h/.local/state/sidecar/token.json")
    assert token_path({"HOME": "/h", "SIDECAR_TOKEN_PATH": "~/t.json"}) == Path("/h/t.json")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ConfigError, match="no home folder"):
        token_path({})
    with pytest.raises(ConfigError, match="no home folder"):
        load(None, {**ENVIRON, "HOME": ""}, {})


# --- precedence ---


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    file: Path,
) -> None:
    assert loaded(file).log.level == "info"
    text = '[log]\nlevel = "error"\n'
    assert loaded(file, text).log.level == "error"
    environ = {"HOME": "/h", "SIDECAR_LOG_LEVEL": "warning"}
    assert loaded(file, text, environ).log.level == "warning"
    assert loaded(file, text, environ, log__level="debug").log.level == "debug"
    assert loaded(file, text, environ, log__level=None).log.level == "warning"


def test_variables_of_other_names_are_ignored_and_empty_ones_not_set(file: Path) -> None:
    environ = {
        "HOME": "/home/alana",
        "SIDECAR_PORT": "tcp://10.0.0.1:8088",
        "SIDECAR_SERVICE_HOST": "10.0.0.1",
        "SIDECAR_LISTEN_PORT_8088_TCP": "x",
        "SIDECAR_LOG_LEVEL": "",
    }
    assert loaded(file, "", environ) == loaded(file)


def test_every_option_can_come_from_the_environment() -> None:
    values = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, option in OPTIONS.items()
        if (value := option.default if option.example is None else option.example) is not None
    }
    assert set(values) == set(OPTIONS)
    environ = {variable_of(name): value for name, value in values.items()}
    found = load(None, environ | {"HOME": "/h"}, {})
    assert found.access.hosts == ("sidecar.internal",)
    assert found.links.rewrite is True
    assert found.jira.proxy == Secret("http://proxy.example.com:3128")
    assert found.admin.address == TCPAddress("127.0.0.1", 8089)


def test_lists_in_the_environment_are_comma_separated(file: Path) -> None:
    environ = {"HOME": "/h", "SIDECAR_LISTEN_ADDRESSES": "127.0.0.1:1, unix:/run/s.sock"}
    addresses = loaded(file, "", environ).listen.addresses
    assert addresses == (TCPAddress("127.0.0.1", 1), UnixAddress(Path("/run/s.sock")))


def test_relative_paths_are_relative_to_the_file_or_to_where_we_are(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = 'ca_file = "tls/ca.pem"\n[token]\npath = "~/t.json"\n[listen]\naddresses = ["unix:s"]\n'
    found = loaded(Path("..", "config.toml"), text)
    assert found.path == tmp_path / "here" / ".." / "config.toml"
    assert found.jira.private_key.resolve() == tmp_path / "private_key.pem"
    assert found.jira.ca_file is not None
    assert found.jira.ca_file.resolve() == tmp_path / "tls" / "ca.pem"
    assert found.token.path == Path("/home/alana/t.json")
    [socket] = found.listen.addresses
    assert isinstance(socket, UnixAddress)
    assert socket.path.resolve() == tmp_path / "s"
    environ = {"HOME": "/h", "SIDECAR_JIRA_CA_FILE": "ca.pem"}
    found = loaded(file, "", environ, jira__private_key="k.pem")
    assert found.jira.ca_file == tmp_path / "here" / "ca.pem"
    assert found.jira.private_key == tmp_path / "here" / "k.pem"


def test_the_users_file_is_found(tmp_path: Path) -> None:
    users = tmp_path / "xdg" / "sidecar" / "config.toml"
    users.parent.mkdir(parents=True)
    users.write_text(BASE)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load(None, environ, {}).path == users


# --- errors ---


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ('url = "x"', 4, 'unknown key "jira.url"', 'did you mean "jira.base_url"?'),
        ("private-key = 1", 4, 'unknown key "jira.private-key"', '"jira.private_key"?'),
        ("[jira.x]", 4, 'unknown key "jira.x"', "config.example.toml"),
        ("[listen]\n\naddress = 1", 6, 'unknown key "listen.address"', '"listen.addresses"?'),
        ("[listen]\nread_only = 1", 5, 'unknown key "listen.read_only"', '"access.read_only"?'),
        ("[log]\ncolour = 1", 5, 'unknown key "log.colour"', "config.example.toml"),
        ("[acces]", 4, 'unknown table "acces"', "did you mean [access]?"),
        ("[server]\nport = 1", 4, 'unknown table "server"', "there are jira, token, listen"),
        ('"a\\nb" = 1', 4, 'unknown key "jira.a\N{REPLACEMENT CHARACTER}b"', ""),
    ],
)
def test_an_unknown_key_is_named_with_file_line_and_the_nearest_known(
    file: Path, text: str, line: int, message: str, hint: str
) -> None:
    error = refusal(file, text)
    assert str(error) == f"{file}:{line}: {message}"
    assert hint in error.hint
    assert isinstance(error, ConfigError)


def test_a_key_above_all_tables_is_told_where_it_belongs(file: Path) -> None:
    file.write_text('base_url = "https://jira.example.com"\n')
    with pytest.raises(ConfigError, match=r':1: unknown key "base_url"$') as caught:
        load(file, ENVIRON, {})
    assert caught.value.hint == 'did you mean "jira.base_url"?'


@pytest.mark.parametrize("text", ["jira = 1\n", "[[jira]]\n", '\njira = "https://x"\n'])
def test_a_table_that_is_none_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=r":[12]: jira: must be a table"):
        load(file, ENVIRON, {})


WRONG = [
    ("[timeouts]\nconnect = -1", "timeouts.connect", "not -1", "connect = 10"),
    ("[timeouts]\nidle = 0", "timeouts.idle", "above 0", "idle = 60"),
    ('[timeouts]\nidle = "1"', "timeouts.idle", "must be a number, not a string", ""),
    ("[timeouts]\nidle = nan", "timeouts.idle", "not nan", ""),
    ('[listen]\naddresses = ["[::1]:70000"]', "listen.addresses", "port 70000", "addresses = ["),
    ('[listen]\naddresses = "[::1]:7000"', "listen.addresses", "must be a list of strings", ""),
    ('[listen]\nunix_mode = "999"', "listen.unix_mode", '"999" is not an octal mode', '"0600"'),
    ("[listen]\nunix_mode = 0o600", "listen.unix_mode", "must be a string, not an integer", ""),
    ('[log]\nformat = "xml"', "log.format", 'must be text or json, not "xml"', 'format = "text"'),
    ('[log]\nlevel = "loud"', "log.level", "debug, info, warning or error", 'level = "info"'),
    ("[limits]\nconnections = 0", "limits.connections", "from 1 to", "connections = 100"),
    ("[limits]\nwaiting = 1.0", "limits.waiting", "must be an integer, not a float", ""),
    ("[limits]\nhead_bytes = 10", "limits.head_bytes", "from 1024", ""),
    ('[access]\nallow = ["rest"]', "access.allow", "is not a rule", "GET /rest/api/*/issue/**"),
    ('[access]\ndeny = ["GET rest"]', "access.deny", "is not a rule", ""),
    ('[access]\nread_only = "yes"', "access.read_only", "must be true or false", "false"),
    ('[access]\norigins = ["null"]', "access.origins", "is not an origin", "tools.example"),
    ('[admin]\naddress = "8089"', "admin.address", "is not HOST:PORT", "127.0.0.1:8089"),
    ('proxy = "socks5://x:1"', "jira.proxy", "must be an http:// URL", "http://proxy"),
    ('signing_url = "jira"', "jira.signing_url", "http:// or https://", "http://jira.internal"),
    ('private_key = ""', "jira.private_key", "must not be empty", "private_key.pem"),
]


@pytest.mark.parametrize(("text", "name", "problem", "hint"), WRONG)
def test_a_wrong_value_is_named_with_file_line_and_an_example(
    file: Path, text: str, name: str, problem: str, hint: str
) -> None:
    error = refusal_at(4 + text.count("\n"), name, file, text)
    assert problem in str(error)
    assert error.hint.startswith("for example: ")
    assert hint in error.hint


TOGETHER = [
    ('[listen]\naddresses = ["0.0.0.0:80"]', "listen.addresses", "access.key_file"),
    ('[listen]\naddresses = ["[::]:80"]', "listen.addresses", "access.key_file"),
    ('[listen]\naddresses = ["box.example.com:80"]', "listen.addresses", "access.key_file"),
    ('[listen]\ntls_certificate = "c.pem"', "listen.tls_certificate", "listen.tls_key"),
    ('[listen]\ntls_key = "c.pem"', "listen.tls_key", "listen.tls_certificate"),
    ('client_key = "c.pem"', "jira.client_key", "jira.client_certificate"),
    ('[admin]\naddress = "[::1]:8088"', "admin.address", "listen.addresses"),
    (f'[admin]\naddress = "unix:/{"x" * 103}"', "admin.address", "bytes"),
    ('act_as = "ci-deploy"', "jira.act_as", "needs jira.two_legged"),
    ('two_legged = false\nact_as = "ci-deploy"', "jira.act_as", "needs jira.two_legged"),
    ('[access]\nact_as = ["ci-*"]', "access.act_as", "needs jira.two_legged"),
    ('two_legged = true\n[access]\nact_as = ["build: ci-*"]', "access.act_as", "access.key_file"),
    (f'[listen]\naddresses = ["unix:/{"x" * 103}"]', "listen.addresses", "bytes"),
]


@pytest.mark.parametrize(("text", "name", "problem"), TOGETHER)
def test_values_that_make_no_sense_together_are_refused(
    file: Path, text: str, name: str, problem: str
) -> None:
    assert problem in str(refusal_at(4 + text.count("\n"), name, file, text))


SENSELESS = [
    ('hosts = ["a:70000"]', "access.hosts", '"a:70000" is not a host name', "sidecar.internal"),
    ('hosts = ["ok", "é"]', "access.hosts", '"é" is not a host name', "sidecar.internal"),
    ('origins = ["https://é"]', "access.origins", '"https://é" is not an origin', "https://tools"),
    ('allow = ["GET /a/**b"]', "access.allow", "* and ** stand for whole segments", "GET /rest/"),
    ('deny = ["* /rest/%6d"]', "access.deny", "paths are matched decoded", "GET /rest/"),
    ('deny = ["* /jira/rest"]', "access.deny", "without the context path /jira", "GET /rest/"),
    ('act_as = ["ci-**"]', "access.act_as", "one * stands for any", '"ci-*"'),
    ('act_as = ["a,b"]', "access.act_as", "no request can name a user with a comma", '"ci-*"'),
    ('act_as = [":ci-*"]', "access.act_as", "not a caller's name", '"ci-*"'),
    ('act_as = ["../x: ci-*"]', "access.act_as", "not a caller's name", '"ci-*"'),
    ('act_as = ["build: "]', "access.act_as", "it names no user", '"ci-*"'),
    ('act_as = ["ok", " "]', "access.act_as", "not a pattern of user names", '"ci-*"'),
]


@pytest.mark.parametrize(("text", "name", "problem", "hint"), SENSELESS)
def test_an_entry_of_access_that_nothing_can_be_judged_by_is_named_with_file_and_line(
    file: Path, text: str, name: str, problem: str, hint: str
) -> None:
    environ = {
        "HOME": "/h",
        "SIDECAR_JIRA_BASE_URL": "https://jira.example.com/jira",
        "SIDECAR_JIRA_TWO_LEGGED": "true",
    }
    error = refusal(file, f"[access]\n{text}", environ)
    assert str(error).startswith(f"{file}:5: {name}: ")
    assert str(error).count(name) == 1
    assert problem in str(error)
    assert hint in error.hint
    assert error.exit_code == 78


def test_a_rule_is_judged_by_the_context_path_that_counts(file: Path) -> None:
    text = '[access]\ndeny = ["* /jira/rest"]'
    assert loaded(file, text).access.deny == ("* /jira/rest",)
    error = refusal(file, text, jira__base_url="https://jira.example.com/jira")
    assert "without the context path /jira" in str(error)


@pytest.mark.parametrize("command", [["run"], ["public-key"], ["request", "/x"]], ids=str)
def test_every_command_refuses_an_impossible_rule(file: Path, command: list[str]) -> None:
    file.write_text(BASE + '[access]\nread_only = true\ndeny = ["* /rest/api/2/%6d"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", *command, "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 78
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"sidecar: error: {file}:6: access.deny: the rule ")
    assert hint.startswith("sidecar: hint: ")


async def test_an_impossible_rule_at_a_reload_is_named_with_file_and_line(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    manager = Manager(tmp_path, "http://127.0.0.1:1", private_key)
    async with manager.running() as process:
        manager.configure('[access]\ndeny = ["* /rest/%6d"]\n')
        process.signal(signal.SIGHUP)
        line = await process.says("not reloaded")
    assert f"{manager.config}:5: access.deny: the rule " in line


def test_what_goes_together_is_accepted(file: Path) -> None:
    text = (
        'client_certificate = "both.pem"\n'
        '[listen]\naddresses = ["0.0.0.0:80", "127.0.0.1:0"]\n'
        '[access]\nkey_file = "key"\n[admin]\naddress = "127.0.0.1:0"\n'
    )
    assert loaded(file, text).listen.addresses[0] == TCPAddress("0.0.0.0", 80)


def test_a_wrong_variable_is_named(file: Path) -> None:
    error = refusal(file, "", {"HOME": "/h", "SIDECAR_TIMEOUTS_CONNECT": "soon"})
    assert str(error) == "SIDECAR_TIMEOUTS_CONNECT: timeouts.connect: must be a number"
    assert error.hint == "for example: SIDECAR_TIMEOUTS_CONNECT=10"
    error = refusal(file, "", {"HOME": "/h", "SIDECAR_LISTEN_ADDRESSES": "0.0.0.0:1"})
    assert str(error).startswith("SIDECAR_LISTEN_ADDRESSES: listen.addresses: 0.0.0.0:1 can be")
    assert error.exit_code == 78


def test_a_wrong_flag_is_a_usage_error_and_an_open_listener_a_configuration_error(
    file: Path,
) -> None:
    error = refusal(file, listen__addresses=["8088"])
    assert isinstance(error, UsageError)
    assert str(error) == '--listen: "8088" is not HOST:PORT, [IPv6]:PORT or unix:/PATH'
    assert error.hint == "for example: --listen 127.0.0.1:8088"
    error = refusal(file, listen__addresses=("0.0.0.0:1",))
    assert isinstance(error, ConfigError)
    assert str(error).startswith("--listen: 0.0.0.0:1 can be reached from elsewhere")


def test_what_is_required_is_asked_for(file: Path, tmp_path: Path) -> None:
    file.write_text("[jira]\n")
    with pytest.raises(ConfigError) as caught:
        load(file, {"HOME": "/h"}, {})
    assert str(caught.value) == f"{file}: jira.base_url and jira.consumer_key missing"
    assert 'base_url = "https://jira.example.com" below [jira]' in caught.value.hint
    assert "sidecar init" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": "/h"}, {})
    assert str(caught.value) == (
        "no configuration: there is no /h/.config/sidecar/config.toml and no "
        f"{tmp_path}/etc/config.toml"
    )
    assert "sidecar init" in caught.value.hint
    assert "SIDECAR_JIRA_BASE_URL and SIDECAR_JIRA_CONSUMER_KEY" in caught.value.hint


def test_a_file_out_of_sight_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    hidden = tmp_path / "loop" / "sidecar" / "config.toml"
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOME": "/h", "XDG_CONFIG_HOME": str(tmp_path / "loop")}, {})
    assert f"{hidden} cannot be looked at: " in str(caught.value)
    assert f"let this user search {hidden.parent}" in caught.value.hint
    assert "sidecar init" in caught.value.hint


def test_a_file_given_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: no such configuration file"):
        load(tmp_path / "no.toml", ENVIRON, {})


@pytest.mark.parametrize(
    "text",
    [
        'proxy = "https://u:hunter2@x:1"',
        'proxy = "http://u:hunter2@x:99999"',
        'proxy = ["http://u:hunter2@x"]',
        'base_url2 = "https://u:hunter2@jira"',
        'signing_url = "https://u:hunter2@jira"',
        'private_key = "-----BEGIN PRIVATE KEY-----hunter2"',
        'private_key_passphrase_file = "hunter2\\n"',
    ],
)
def test_no_error_quotes_what_may_be_a_secret(file: Path, text: str) -> None:
    error = refusal(file, text)
    assert "hunter2" not in f"{error}{error.hint}{error!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_a_configuration_shows_no_secret(file: Path) -> None:
    found = loaded(file, 'proxy = "http://u:hunter2@proxy:3128"')
    assert found.jira.proxy is not None
    assert found.jira.proxy.reveal() == "http://u:hunter2@proxy:3128"
    assert "hunter2" not in repr(found)


# --- the example file ---

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_example_file_is_rendered_from_the_option_table() -> None:
    """To make it anew: print `sidecar.config.rendering.example()`."""
    assert EXAMPLE.read_text() == rendering.example()


def uncommented() -> str:
    return re.sub(r"(?m)^#(\w+ = )", r"\1", EXAMPLE.read_text())


def keys_of(document: dict[str, Any]) -> Iterator[str]:
    for table, keys in document.items():
        yield from (f"{table}.{key}" for key in keys)


def test_the_example_file_has_every_key_in_its_table() -> None:
    assert list(tomli.loads(uncommented())) == list(TABLES)
    assert list(keys_of(tomli.loads(uncommented()))) == list(OPTIONS)


def test_the_example_file_shows_every_default() -> None:
    document = tomli.loads(uncommented())
    for name, option in OPTIONS.items():
        table, _, key = name.partition(".")
        if option.default is not None:
            assert document[table][key] == option.default


def test_the_example_file_loads_as_it_is_and_with_everything_uncommented(file: Path) -> None:
    plain = load(EXAMPLE, {"HOME": "/h"}, {})
    assert plain.limits == load(None, ENVIRON, {}).limits
    file.write_text(uncommented().replace("two_legged = false", "two_legged = true"))
    assert load(file, {"HOME": "/h"}, {}).listen.tls_key == file.parent / "localhost.key"


def test_the_example_file_fits_a_terminal() -> None:
    assert max(map(len, EXAMPLE.read_text().splitlines())) <= 88


# --- cost ---


def test_importing_the_configuration_brings_in_nothing_heavy() -> None:
    code = (
        "import sys, sidecar.config.load; print(*{'aiohttp', 'cryptography', 'click', 'asyncio', "
        "'difflib', 'ssl'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert result.stdout.strip() == ""
