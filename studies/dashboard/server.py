"""Optuna's dashboard of Caviar's database, served by this process: no password leaves it."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, get_storage
from optuna_dashboard import wsgi
from sqlalchemy import Engine

from caviar.studies.errors import AddressUnavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from caviar.studies.workers.local.signals import Stop

_PORTS = range(8080, 8100)  # the first free one, where none is given
_LOOK_SECONDS = 0.5  # after which `serve` looks at its `stop` again
_THREADS = 8  # browsers that are answered at once


class DashboardServer:
    """Listens from the start; answers while `serve` lasts.

    Attributes:
        url: where it is.
        is_local: whether only this machine reaches it.
    """

    def __init__(self, host: str, port: int | None) -> None:
        """Take the address; port 0 stands for any that is free, None for 8080 or the next free one.

        Raises:
            AddressUnavailable: it is taken, or not one of this machine.
        """
        for tried in _PORTS if port is None else [port]:
            try:
                family, _, _, _, address = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
                self._socket = socket.create_server((str(address[0]), tried), family=family)
                break
            except OSError as error:
                last = error.strerror
            except UnicodeError:  # a name that no DNS has, such as a..b
                last = "no host can have that name"
        else:
            which = f"{host}:{port}" if port is not None else f"{host}, ports {_PORTS[0]} to {_PORTS[-1]}"
            raise AddressUnavailable(
                f"the dashboard cannot listen at {which}: {last}; give another: --port, --host"
            ) from None
        at = self._socket.getsockname()
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{at[1]}"
        self.is_local = ip_address(at[0]).is_loopback

    def __enter__(self) -> DashboardServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def serve(self, application: WSGIApplication, stop: Stop) -> None:
        """Answer requests until `stop` is asked for."""
        from waitress import create_server, wasyncore

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a browser that asks for much at once is no news
        sockets: dict[int, Any] = {}
        server = create_server(application, map=sockets, sockets=[self._socket], threads=_THREADS, ident=None)
        while not stop.asked:
            with suppress(InterruptedError):
                wasyncore.loop(_LOOK_SECONDS, use_poll=True, map=sockets, count=1)
        server.task_dispatcher.shutdown(timeout=1)


def application(engine: Engine) -> WSGIApplication:
    """Return the dashboard of the database that `engine` reaches, on connections of its own.

    Optuna's cache, which the dashboard's own command does without, spares it reading finished trials again.

    Raises:
        SQLAlchemyError: the database cannot be read by this role, or not now.
    """
    address = engine.url.render_as_string(hide_password=False)
    try:
        storage = RDBStorage(address, {"pool_pre_ping": True}, skip_compatibility_check=True, skip_table_creation=True)
    except StorageInternalError as error:
        raise error.__cause__ or error from None  # `open_database` has a line for that, and none for Optuna's own
    shown: WSGIApplication = wsgi(get_storage(storage))
    return shown
