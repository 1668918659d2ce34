"""`Timing`: durations that the client chooses itself, as one frozen value that tests hand in shorter (pure)."""

from __future__ import annotations

from attrs import frozen

STALL_SECONDS = 30.0  # a `stall_timeout` that is not set


@frozen(kw_only=True)
class Timing:
    """Durations in seconds. A `Client` carries one, which all that is made for it reads; a journal has its own threads.

    Limits that a caller sets, such as `timeout` and `stall_timeout`, and those of the API are not among them.
    """

    first_delay: float = 0.5  # at most, before the first retry; doubles each time, so that an outage is not made worse
    resolve: float = 30.0  # a resolver has no limit of its own that can be set, and may hang
    connect: float = 30.0  # to one address: one that drops packets would be waited for for minutes
    key: float = 60.0  # for an async function that returns the key: what it asks may hang
    connection_setup: float = 90.0  # of name, proxy and TLS together: aiohttp would wait forever for a silent proxy
    keep_alive: float = 10.0  # a POST on a connection that the server has just closed would be lost
    thread_idle: float = 2.0  # a thread is cheap to start again, but not for each part
    slow_slice: float = 5.0  # well below the stall limit: outside Linux only drained slices show progress
    report_interval: float = 0.1  # more often than ten times a second nobody can read
    last_report: float = 5.0  # once an upload has ended, for an async on_progress: its reader may be gone
    admission_poll: float = 0.02  # a part that ends does not notify the queue
    deadline_check: float = 0.5  # an upload is judged over half a minute and more: twice a second is fine enough
    expiry_grace: float = 60.0  # parts are refused long before: what is still waiting then hangs on our side
    file_search: float = 30.0  # a server may list a file later than it makes it
    file_search_interval: float = 2.0  # the whole list is read each time
    file_answer: float = 60.0  # once the connection of a POST /files is lost, for a server that is still at work on it
    batch_search: float = 60.0  # for a batch whose create was lost: a server may list it later than it makes it
    batch_search_interval: float = 5.0  # between two looks at the list of batches
    final_write: float = 10.0  # once a run is left, for pictures and for the ledger; a disk that hangs may take longer


DEFAULT_TIMING = Timing()
