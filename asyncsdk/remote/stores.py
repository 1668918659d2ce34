"""Opens obstore's stores, one for each bucket, by obstore's own environment variables and the caller's options."""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from attrs import define, evolve, field

from asyncsdk.errors import ConfigurationError
from asyncsdk.extras import where_from
from asyncsdk.given import wrong_type
from asyncsdk.remote.address import AZURE, RemoteAddress
from asyncsdk.remote.ending import rest_at_exit
from asyncsdk.remote.failures import bad_options, bad_setting, failure_of
from asyncsdk.remote.store_settings import unusable_setting
from asyncsdk.tasks import Allowance

Answer = TypeVar("Answer")

MOST_STORES = 64  # each has a pool of connections; of presigned URLs each needs its own
RANGES_AHEAD = 3  # of all objects of one `RemoteStores`, beyond one for each
_FOR_WEB = ("client_options", "retry_config")  # all that obstore takes for a web server

_memory: dict[str, Any] = {}  # the stores of memory://, of the whole process
_process: list[int] = []  # the one in which obstore's threads are, once they are


@define(eq=False)
class RemoteStores:
    """The stores that were opened with one set of options.

    Args:
        options: What `obstore.store.from_url` takes besides the URL: the configuration of the store, such as `region`
            and `endpoint`, `client_options`, `retry_config`, `credential_provider`. It is in no message.
    """

    options: Mapping[str, Any] = field(factory=dict, repr=False)
    ahead: Allowance = field(factory=lambda: Allowance(RANGES_AHEAD), init=False, repr=False)
    readers: int = field(default=0, init=False)  # how many objects are being read now
    _stores: OrderedDict[RemoteAddress, Any] = field(factory=OrderedDict, init=False, repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any] | RemoteStores | None) -> RemoteStores:
        """Those with `options`, or the given ones, which are shared then: stores, and what is read ahead of them."""
        if isinstance(options, RemoteStores):
            return options
        if not (options is None or isinstance(options, Mapping)):
            raise wrong_type("remote_options", options, "a mapping")
        return cls(options or {})

    def open(self, address: RemoteAddress) -> tuple[Any, str]:
        """The store of `address`, and its name in there.

        Raises ConfigurationError where the extra is missing or obstore's threads are in the parent process, RemoteError
        where the options can't be used.
        """
        if _process and _process[0] != os.getpid():
            raise ConfigurationError(
                f"{address} can't be used: this process was forked from one that had used URLs, whose threads it does "
                "not have. Use them only in the child, or start it by 'spawn' or 'forkserver'. Nothing was sent."
            )
        if address.scheme == "memory":
            return _memory_store(address), address.path
        by_path = address.is_sent_by_path
        key = evolve(address, raw="", query="") if by_path else address
        store = self._stores.pop(key, None)
        if store is None:
            store = self._opened(address, by_path=by_path)
        self._stores[key] = store
        while len(self._stores) > MOST_STORES:
            self._stores.popitem(last=False)
        return store, address.path if by_path else ""

    def _opened(self, address: RemoteAddress, *, by_path: bool) -> Any:
        stores = _obstore(address)
        problem = unusable_setting(address.kind, self.options, os.environ)
        if problem is not None:
            raise bad_setting(address, problem)
        try:
            if not address.is_web:
                url, account = _without_account(address)
                return stores.from_url(url, **(account | dict(self.options)))
            return stores.HTTPStore.from_url(address.store if by_path else address.sent, **self._for_web(address))
        except Exception as error:  # noqa: BLE001 - of many kinds; all are about what was passed
            failure = failure_of(error, address)
        raise failure if failure.reason != "failed" else bad_options(address)

    def _for_web(self, address: RemoteAddress) -> dict[str, Any]:
        options = {name: self.options[name] for name in _FOR_WEB if name in self.options}
        client = dict(options.get("client_options") or {})
        if address.scheme == "http":
            client["allow_http"] = True
        if address.login:
            token = base64.b64encode(unquote(address.login).encode()).decode()
            client["default_headers"] = {**(client.get("default_headers") or {}), "authorization": f"Basic {token}"}
        return options | {"client_options": client}


async def ask(address: RemoteAddress, work: Awaitable[Answer]) -> Answer:
    """Await `work` of obstore's. What it raises is a RemoteError without obstore's own, whose text has secrets."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - obstore raises errors of Python's, too
        failure = failure_of(error, address)
    raise failure


def _without_account(address: RemoteAddress) -> tuple[str, dict[str, str]]:
    """The URL of a store, and of az://container@account the account, which obstore takes apart from it."""
    container, _, account = address.host.partition("@")
    if address.scheme not in AZURE or not account or "." in account:
        return address.store, {}
    return f"{address.scheme}://{container}", {"account_name": account}


def _memory_store(address: RemoteAddress) -> Any:
    if address.host not in _memory:
        _memory[address.host] = _obstore(address).MemoryStore()
    return _memory[address.host]


def _obstore(address: RemoteAddress) -> Any:
    try:
        from obstore import store as stores
    except ImportError:
        raise ConfigurationError(
            f"{address} is a URL, and for URLs the extra 'remote' is needed, which is not installed. "
            f"{where_from('remote')}. Nothing was sent."
        ) from None
    rest_at_exit()
    _process[:] = [os.getpid()]
    return stores
