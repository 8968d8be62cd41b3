"""What each problem with OAuth means: where it comes from, what to do, and what may heal it.

No text holds a parameter's value.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Remedy(Enum):
    """What may heal a problem; the request is then sent once more, with new nonce and timestamp."""

    NONE = "nothing that we could do"
    CLOCK = "learn Jira's clock from acceptable_timestamps, else from Date"
    AGAIN = "a new nonce is enough"
    RENEW = "renew the access token with its session handle"
    RELOAD = "take the token on disk, if it is newer than ours"
    COMPARE = "compare_base_strings may find the URL that Jira believes in"


class Explanation(NamedTuple):
    """What a problem means."""

    sentence: str
    causes: tuple[str, ...]
    """The likeliest first."""
    hint: str
    """What to do: ASCII."""
    remedy: Remedy = Remedy.NONE


_RUN_AUTH = "run: sidecar auth"
LEAVE_ALONE = (
    "let whatever stands between here and Jira (reverse proxy, gateway, firewall)"
    " pass requests on unchanged"
)
_GATEWAY = "a reverse proxy or gateway on the way changes the Authorization field"
GIVE_KEY = "give the application link's incoming side the key that sidecar public-key prints"
_LINK = "the application link is disabled or was deleted"

EXPLANATIONS = {
    "parameter_absent": Explanation(
        "Jira misses OAuth parameters.",
        (_GATEWAY, "the Authorization field is too long for something on the way"),
        LEAVE_ALONE,
    ),
    "parameter_rejected": Explanation(
        "Jira does not accept an OAuth parameter.",
        (
            "a parameter that begins with oauth_ came twice, also in the query",
            "the callback is not an absolute http or https URL",
            _GATEWAY,
        ),
        "send no oauth_ parameters of your own; " + LEAVE_ALONE,
    ),
    "version_rejected": Explanation(
        "Jira does not accept OAuth version 1.0.",
        (_GATEWAY, "what answers is not Jira Data Center or Server"),
        "check jira.base_url; Jira Cloud has no OAuth 1.0a",
    ),
    "signature_method_rejected": Explanation(
        "Jira received another signature method than RSA-SHA1, by which we sign.",
        (_GATEWAY, "a gateway on the way signs requests anew"),
        LEAVE_ALONE,
    ),
    "timestamp_refused": Explanation(
        "Jira's clock and this machine's are more than five minutes apart.",
        (
            "this machine's clock is wrong",
            "the clock of Jira's machine is wrong",
            "the request waited somewhere for more than five minutes",
        ),
        "set this machine's clock and Jira's, with NTP for good",
        Remedy.CLOCK,
    ),
    "nonce_used": Explanation(
        "Jira has seen this very request before.",
        ("a reverse proxy or gateway on the way sent the request a second time",),
        "let whatever stands between here and Jira not repeat requests",
        Remedy.AGAIN,
    ),
    "signature_invalid": Explanation(
        "Jira computes another signature than ours.",
        (
            "a reverse proxy lets Jira believe in another scheme, host or port",
            "something on the way rewrites the path or the query",
            "the public key in the application link is not that of our private key",
        ),
        "run: sidecar check; compare the application link's key with: sidecar public-key",
        Remedy.COMPARE,
    ),
    "too_many_parameters": Explanation(
        "Jira computes another signature than ours for more than 1,000 parameters, though it takes"
        " our signatures of short requests.",
        ("Jira's Tomcat reads only so many parameters (maxParameterCount) and drops the rest",),
        "send JSON, or several requests; or raise maxParameterCount in Jira's server.xml",
    ),
    "key_size_mismatch": Explanation(
        "Jira cannot check our signature: the public key in the application link has another size"
        " than our private key.",
        (
            "the application link's Public Key is that of another private key",
            "the application link has no public key",
        ),
        GIVE_KEY,
    ),
    "consumer_key_unknown": Explanation(
        "Jira knows no application link with our consumer key.",
        ("jira.consumer_key is not the link's incoming Consumer Key", _LINK, "another Jira"),
        "make jira.consumer_key and the application link's Consumer Key the same",
    ),
    "consumer_key_rejected": Explanation(
        "Jira does not accept our consumer key.",
        (_LINK, "jira.consumer_key is not the link's incoming Consumer Key"),
        "check the application link's incoming side in Jira's administration",
    ),
    "consumer_key_refused": Explanation(
        "Jira refuses our consumer key for now.",
        (_LINK,),
        "check the application link's incoming side in Jira's administration",
    ),
    "token_rejected": Explanation(
        "Jira does not know our token.",
        (
            "the user has revoked it (Profile, Authorized applications)",
            "another process has renewed it",
            _LINK,
            "Jira was restored from a backup, or is another Jira",
        ),
        _RUN_AUTH,
        Remedy.RELOAD,
    ),
    "token_expired": Explanation(
        "Our token has come to its end.",
        ("an access token lives five years, a request token ten minutes",),
        _RUN_AUTH,
        Remedy.RENEW,
    ),
    "token_revoked": Explanation(
        "Our access token was revoked.",
        ("the user has revoked it (Profile, Authorized applications)",),
        _RUN_AUTH,
        Remedy.RELOAD,
    ),
    "token_used": Explanation(
        "The request token was used before.",
        ("its approval page was opened twice", "another process finished the same dance"),
        _RUN_AUTH,
    ),
    "permission_unknown": Explanation(
        "The user has neither allowed nor denied the access yet.",
        ("the approval page waits for its Allow button",),
        "open the URL that sidecar auth shows, choose Allow, then finish the dance",
    ),
    "permission_denied": Explanation(
        "The access was denied.",
        ("the user chose Deny", _LINK, "the token's session is over"),
        _RUN_AUTH + " and choose Allow",
    ),
    "three_legged_not_allowed": Explanation(
        "Jira does not allow our consumer to act for users (three-legged OAuth).",
        ("the application link is for two-legged OAuth alone",),
        "let a Jira administrator allow it in the application link's incoming side, or set"
        " jira.two_legged = true",
    ),
    "user_refused": Explanation(
        "The user has refused the access.",
        ("the user chose Deny",),
        _RUN_AUTH + " and choose Allow",
    ),
    "additional_authorization_required": Explanation(
        "Jira wants the user's approval once more.",
        ("the access that was approved does not cover this request",),
        _RUN_AUTH,
    ),
    "anonymous": Explanation(
        "Jira answered as if the request had not been signed.",
        (
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "Jira's OAuth plugin is disabled",
            "the user may not log in",
        ),
        "let the reverse proxy in front of Jira pass Authorization on unchanged",
    ),
    "user_may_not_log_in": Explanation(
        "Jira did not let the user in, though it names no fault in the signature.",
        (
            "the user is inactive or has no licence (application access)",
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "a gateway in front of Jira wants a login of its own",
        ),
        "let an administrator check that the user is active and has application access; else let "
        "the reverse proxy pass Authorization on unchanged",
    ),
    "two_legged_not_allowed": Explanation(
        "Jira takes our signature and does not let us in as the application link.",
        (
            "the application link does not allow 2-Legged OAuth",
            "its Execute as user may not log in (inactive, or without application access)",
            "a gateway in front of Jira wants a login of its own",
        ),
        "let a Jira system administrator tick Allow 2-Legged OAuth in the application link's"
        " incoming side, and check that its Execute as user is active and has application access",
    ),
    "impersonation_not_allowed": Explanation(
        "Jira takes our signature and does not let us act as the user that the request names.",
        (
            "the application link does not allow user impersonation through 2-Legged OAuth",
            "the user may not log in (inactive, or without application access)",
            "a gateway in front of Jira wants a login of its own",
        ),
        "let a Jira system administrator tick Allow user impersonation through 2-Legged OAuth in"
        " the application link's incoming side, and check that the user is active and has"
        " application access",
    ),
    "link_is_nobody": Explanation(
        "Jira answered as nobody, though the request was signed as the application link.",
        (
            "the application link has no Execute as user, or one that Jira does not know",
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "Jira's OAuth plugin is disabled",
        ),
        "let a Jira system administrator enter a user who exists as Execute as in the application"
        " link's incoming side; else let the reverse proxy pass Authorization on unchanged",
    ),
    "requestor_is_nobody": Explanation(
        "Jira answered as nobody, though the request names a user to act as.",
        (
            "Jira has no user of that name",
            "a reverse proxy or gateway between here and Jira drops the Authorization field",
            "Jira's OAuth plugin is disabled",
        ),
        "check the name in jira.act_as or X-Sidecar-Act-As: it is the one that the user logs in"
        " with; else let the reverse proxy pass Authorization on unchanged",
    ),
    "two_legged_unknown": Explanation(
        "Jira looks for an access token, and we sign without one (two-legged OAuth).",
        (
            "this version of Jira knows no two-legged OAuth",
            "a gateway in front of Jira looks at the Authorization field",
        ),
        "set jira.two_legged = false and run: sidecar auth",
    ),
    "not_jira": Explanation(
        "What answers is not Jira but something in front of it.",
        (
            "a single sign-on gateway wants a login of its own",
            "jira.base_url has the wrong scheme, name or port",
            "a captive portal of this network",
        ),
        "let the gateway pass requests below /rest/ on to Jira, or make jira.base_url an address"
        " that reaches Jira itself; sidecar check looks closer",
    ),
    "unreadable": Explanation(
        "Jira refuses the request with an OAuth problem whose name makes no sense.",
        ("a gateway in front of Jira garbles the answer",),
        LEAVE_ALONE,
    ),
}
