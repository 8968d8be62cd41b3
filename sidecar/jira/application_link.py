"""What to enter in Jira's form for the application link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of Jira's form, and what to enter there; an empty value stays empty."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FormStep:
    """A page of Jira's form: what to do there, and its fields in their order."""

    instruction: str
    fields: tuple[FormField, ...] = ()


def application_link(
    consumer_key: str, public_key: str, *, two_legged: bool = False
) -> tuple[FormStep, ...]:
    """Say, page by page and field by field, what to enter in Jira's application link."""
    steps = (
        FormStep("As a Jira administrator: Administration → Applications → Application links"),
        FormStep(
            'Create a link. From Jira 8.22 choose "Atlassian product", not "External application". '
            'Ignore "no response" and continue',
            (FormField("Application URL", "http://localhost:8088"),),
        ),
        FormStep(
            'Tick "Create incoming link", leave the rest empty, and continue',
            (
                FormField("Application Name", "jira-oauth-sidecar"),
                FormField("Application Type", "Generic Application"),
            ),
        ),
        FormStep(
            "Enter the incoming link",
            (
                FormField("Consumer Key", consumer_key),
                FormField("Consumer Name", "jira-oauth-sidecar"),
                FormField("Public Key", public_key),
                FormField("Consumer Callback URL", ""),
            ),
        ),
    )
    return (*steps, _TWO_LEGGED) if two_legged else steps


def new_public_key(consumer_key: str, public_key: str) -> tuple[FormStep, ...]:
    """Say where another public key is entered in an application link that is there."""
    return (
        FormStep("As a Jira administrator: Administration → Applications → Application links"),
        FormStep(
            f'Edit the link whose Consumer Key is "{consumer_key}": Incoming Authentication, OAuth',
            (FormField("Public Key", public_key),),
        ),
    )


_TWO_LEGGED = FormStep(
    "As a Jira system administrator: edit the new link, Incoming Authentication, OAuth",
    (
        FormField("Allow 2-Legged OAuth", "(tick)"),
        FormField("Execute as", "(the user whom requests act as; no system administrator)"),
        FormField(
            "Allow user impersonation through 2-Legged OAuth",
            "(tick only if requests are to act as other users: jira.act_as, access.act_as)",
        ),
    ),
)
