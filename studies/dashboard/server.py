"""Serve Optuna's dashboard of Caviar's database from this process, so that no database password leaves it."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, get_storage
from optuna_dashboard import wsgi
from sqlalchemy import Engine

from caviar.studies.dashboard.changes import Changes
from caviar.studies.dashboard.connections import OPTIONS, LimitedChannel, close_late
from caviar.studies.errors import AddressUnavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from caviar.studies.workers.local.signals import Stop

_PORTS = range(8080, 8100)  # the first free one, where none is given
_POLL_SECONDS = 0.5  # between two checks whether to stop
_THREADS = 8  # requests that are answered at once


class DashboardServer:
    """A server that listens at once, and answers while `serve` runs; `is_local` if only this machine reaches it.

    Args:
        port: 0 for any that is free, None for 8080 or the next free one.

    Raises:
        AddressUnavailable: the address is taken, or not one of this machine.
    """

    def __init__(self, host: str, port: int | None) -> None:
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
            where = f"{host}:{port}" if port is not None else f"{host}, ports {_PORTS[0]} to {_PORTS[-1]}"
            raise AddressUnavailable(f"the dashboard cannot listen at {where}: {last}; give another: --port, --host")
        at = self._socket.getsockname()
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{at[1]}"
        self.is_local = ip_address(at[0]).is_loopback

    def __enter__(self) -> DashboardServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def serve(self, application: WSGIApplication, stop: Stop) -> None:
        """Answer requests until `stop` is asked for."""
        from waitress import create_server, wasyncore

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns whenever a browser asks for much at once
        sockets: dict[int, Any] = {}
        server = create_server(
            application, map=sockets, sockets=[self._socket], threads=_THREADS, ident=None, **OPTIONS
        )
        server.channel_class = LimitedChannel
        while not stop.asked:
            with suppress(InterruptedError):
                wasyncore.loop(_POLL_SECONDS, use_poll=True, map=sockets, count=1)
            close_late(server.active_channels.values())
        server.task_dispatcher.shutdown(timeout=1)


def application(engine: Engine) -> WSGIApplication:
    """Return the dashboard of the database that `engine` reaches, on connections of its own.

    With Optuna's cache, which the dashboard's own command lacks, finished trials are read once. What would harm a study
    of Caviar's is refused.

    Raises:
        SQLAlchemyError: the database cannot be read by this role, or not now.
    """
    address = engine.url.render_as_string(hide_password=False)
    try:
        storage = RDBStorage(address, {"pool_pre_ping": True}, skip_compatibility_check=True, skip_table_creation=True)
    except StorageInternalError as error:
        raise error.__cause__ or error from None  # `open_database` explains that one, and not Optuna's own
    dashboard = wsgi(get_storage(storage))
    dashboard.install(Changes(engine))
    made: WSGIApplication = dashboard
    return made
