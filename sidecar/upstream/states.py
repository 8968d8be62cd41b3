"""Where a connection to Jira stands.

    -------  ---------------------  -----------------------  ---------------------  -----------
    state    waits for              when bytes arrive        when it ends           is left by
    -------  ---------------------  -----------------------  ---------------------  -----------
    RESTING  a request              LOST: nobody asked       LOST                   begin()
    WAITING  the answer's last      they are parsed, as      DONE if only the end   its own:
             byte                   fast as they are read    ends the body, else    DONE
                                                             LOST
    DONE     the answer to be       the transport is         never used again       rest()
             read and the request   aborted
             to be sent
    LOST     nothing                they are dropped         stays LOST             nothing
    -------  ---------------------  -----------------------  ---------------------  -----------

abort(), and fail() with a reason, lead to LOST from anywhere.  A LOST connection has let go of the
answer, so that nothing of it waits for the garbage collector.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a connection is doing; the table says what follows what."""

    RESTING = "resting"
    WAITING = "waiting"
    DONE = "done"
    LOST = "lost"
