"""What the system service is called, and how the commands that look after it are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.system.names import INSTANCE, Service, own_service


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("run `sidecar auth`", "run `sudo sidecar auth --system`"),
        ("run: sidecar auth", "run: sudo sidecar auth --system"),
        ("sidecar open --print", "sudo sidecar open --system --print"),
        ("use `sidecar auth --begin`", "use `sudo sidecar auth --system --begin`"),
        ("run `sidecar init`, or check", "run `sudo sidecar init --system`, or check"),
        ("start it with `sidecar run`", "start it with `sudo systemctl start sidecar.service`"),
        ("`sidecar run` renews it by itself", "`sidecar run` renews it by itself"),
        ("is another sidecar running?", "is another sidecar running?"),
        ("/opt/sidecar auth", "/opt/sidecar auth"),
        ("sidecar authors", "sidecar authors"),
        ("", ""),
    ],
)
def test_hints_name_the_command_for_the_service(text: str, completed: str) -> None:
    assert Service().complete(text) == completed


@given(st.sampled_from(["init", "auth", "check", "request", "status", "logout"]), st.booleans())
def test_a_text_that_was_completed_stays(name: str, is_instance: bool) -> None:
    service = Service("work" if is_instance else "")
    once = service.complete(f"run `sidecar {name}`; or: sidecar {name} --begin")
    assert once.count(service.command(name)) == 2
    assert service.complete(once) == once


def test_an_instance_is_named() -> None:
    service = Service("work")
    assert service.unit == "sidecar@work.service"
    assert service.file == "sidecar@.service"
    assert service.complete("run `sidecar auth`") == (
        "run `sudo sidecar auth --system --instance work`"
    )


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/sidecar.service\n", "sidecar.service"),
        ("0::/system.slice/system-sidecar.slice/sidecar@work.service", "sidecar@work.service"),
        ("2:cpu:/x\n1:name=systemd:/system.slice/sidecar.service\n0::/", "sidecar.service"),
        ("0::/machine.slice/x.scope/system.slice/sidecar.service", "sidecar.service"),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/sidecar.service", None),
        ("3:cpu:/system.slice/sidecar.service", None),
        ("0::/system.slice/other-sidecar.service", None),
        ("0::/system.slice/sidecar.socket", None),
        ("0::/", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_process_knows_which_service_it_is(cgroups: str, unit: str | None) -> None:
    found = own_service(cgroups)
    assert (found and found.unit) == unit


@pytest.mark.parametrize("name", ["work", "my-team", "a.b", "Jira_2", "x:y"])
def test_names_of_instances(name: str) -> None:
    assert INSTANCE.fullmatch(name)
    assert own_service(f"0::/system.slice/{Service(name).unit}") == Service(name)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a b", "a\\x2d", "@", "x" * 65, "é"])
def test_no_names_of_instances(name: str) -> None:
    assert not INSTANCE.fullmatch(name)
