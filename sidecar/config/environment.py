"""The variables of the environment that set options: SIDECAR_JIRA_BASE_URL for jira.base_url."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sidecar.config.nearest import nearest_option
from sidecar.config.places import refuse_quotes
from sidecar.config.settings import OPTIONS, TABLES
from sidecar.errors import ConfigError
from sidecar.http.shown import quoted

_PREFIX = "SIDECAR_"
_OF_A_TABLE = re.compile(rf"{_PREFIX}({'|'.join(map(str.upper, TABLES))})(_.*)?", re.DOTALL)
_OF_A_SERVICE = re.compile(
    r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_.+)?)?)"
)
"""What Kubernetes makes of a Service's name, such as `sidecar-admin` (as Docker's links did)."""


def variable_of(name: str) -> str:
    """Return an option's environment variable: SIDECAR_JIRA_BASE_URL for jira.base_url."""
    return f"{_PREFIX}{name.replace('.', '_').upper()}"


def given_by(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each option that a variable sets; an empty one counts as not set.

    Raises ConfigError for a variable that looks like an option's and is none.
    """
    by_variable = {variable_of(name): name for name in OPTIONS}
    given = {}
    for variable, text in environ.items():
        if not text or not variable.startswith(_PREFIX):
            continue
        if name := by_variable.get(variable):
            refuse_quotes(variable, text)
            given[name] = text
        elif not _OF_A_SERVICE.fullmatch(variable):
            _refuse_unknown(variable)
    return given


def _refuse_unknown(variable: str) -> None:
    """Refuse a variable that begins with a table's name: what it should set is not set."""
    match = _OF_A_TABLE.fullmatch(variable)
    meant = _MEANT.get(variable.replace("_", ""))
    if match is None and meant is None:
        return
    if match is not None and meant is None:
        meant = nearest_option(f"{match[1]}.{(match[2] or '').strip('_')}".lower())
    if meant is not None:
        hint = f"did you mean {variable_of(meant)}, which sets {meant}? If not, unset it"
    else:
        keys = (name for name in OPTIONS if match and name.startswith(f"{match[1].lower()}."))
        hint = f"unset it; there are {', '.join(map(variable_of, keys))}"
    raise ConfigError(f"{quoted(variable)}: the configuration has no such key", hint)


_MEANT = {variable_of(name).replace("_", ""): name for name in OPTIONS}
"""Options by their variables without underscores: SIDECAR_LOGLEVEL means log.level."""
