"""Where a client's connection stands.

    state      what has happened                        what comes next
    ---------  ---------------------------------------  ------------------------------------------
    IDLE       nothing of a request is here             a first byte: HEAD or, with a whole head,
                                                        ANSWERING.  75 s without: CLOSED
    HEAD       part of a head is here                   its end: ANSWERING.  408 after 30 s, 431 or
                                                        400 as soon as it is hopeless: ANSWERING.
                                                        CLOSED where it is slow and room is wanted
    ANSWERING  a request is being answered; its body    the end of the answer: IDLE, HEAD or
               may still be arriving                    ANSWERING by what is here then, or LINGERING
    LINGERING  the last answer is sent, and our side    the client's end, or no progress: CLOSED
               is ended; what arrives is discarded
    CLOSED     nothing is read or sent any more         the end of the task that answers

While one request is being answered, what follows it is read as far as this:

    of the next request           what is done with it
    ----------------------------  -----------------------------------------------------------------
    nothing, or part of a head    more is read; the head has its 30 s
    a head, and part of a body    the body is read up to what its StreamReader holds
    all of it                     it waits; up to 64 KiB behind it are held, then reading pauses
    it cannot be read             its refusal waits; all that follows is discarded
    there will be none            all that arrives is discarded: the present one was the last
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """Where a connection stands; the table says what each means."""

    IDLE = auto()
    HEAD = auto()
    ANSWERING = auto()
    LINGERING = auto()
    CLOSED = auto()

    @property
    def awaits_request(self) -> bool:
        """Whether there is nothing to answer yet."""
        return self in (State.IDLE, State.HEAD)
