"""`sidecar check --ready`: asks the running sidecar alone whether it is ready, for exec probes."""

from __future__ import annotations

from sidecar.check.running import ask, unexpected
from sidecar.check.step import Step, failed
from sidecar.config.load import Config
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, UpstreamError

_EXIT_CODES = {
    "token_unusable": ConfigError.exit_code,
    "shutting_down": UpstreamError.exit_code,
}
"""Of what is wrong on our side of Jira; all else there is about the token."""


def ready(config: Config) -> Step:
    """The one step: pass on 200, fails with the code of what is wrong, with 69 if nothing runs."""
    try:
        said = ask(config, "ready")
        if said.status not in (200, 503):
            raise unexpected(said)
    except SidecarError as error:
        return failed("ready", error)
    if said.status == 200:
        return Step("ready", "pass", f"The sidecar at {said.where} is ready.")
    texts = {name: str(said.document.get(name) or "") for name in ("problem", "reason", "hint")}
    reason = texts["reason"] or "no reason"
    if texts["problem"]:
        reason += f" ({texts['problem']})"
    message = f"The sidecar at {said.where} is not ready: {reason}"
    return Step("ready", "fail", message, texts["hint"], exit_code_of(texts["problem"]))


def exit_code_of(problem: str) -> int:
    """What a command exits with that finds the sidecar not ready because of that."""
    from sidecar.jira.explanations import EXPLANATIONS
    from sidecar.jira.refusals import exit_code

    if problem in EXPLANATIONS:
        return exit_code(problem)
    return _EXIT_CODES.get(problem, NotAuthorized.exit_code)
