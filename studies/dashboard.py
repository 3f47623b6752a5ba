"""Optuna's dashboard of Caviar's database, served by this process: no password leaves it."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.storages import RDBStorage, get_storage
from optuna_dashboard import wsgi
from sqlalchemy import Engine

from studies.errors import AddressUnavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from studies.signals import Stop


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Listens from the start; answers, each request in a thread of its own, while `serve` lasts."""

    daemon_threads = True  # browsers hold connections open that they may never use
    timeout = 0.5  # seconds after which `serve` looks at its `stop` again

    def __init__(self, host: str, port: int) -> None:
        """Take the address; port 0 stands for any that is free.

        Raises:
            AddressUnavailable: it is taken, or not one of this machine.
        """
        try:
            self.address_family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            super().__init__((str(address[0]), port), _Handler)
        except OSError as error:
            raise AddressUnavailable(
                f"the dashboard cannot listen at {host}:{port}: {error.strerror}; give another: --port, --host"
            ) from error
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}"
        self.is_local = ip_address(address[0]).is_loopback

    def serve(self, application: WSGIApplication, stop: Stop) -> None:
        """Answer requests until `stop` is asked for."""
        self.set_app(application)
        while not stop.asked:
            self.handle_request()


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet: a dashboard that is open asks every few seconds. Errors are still told."""


def application(engine: Engine) -> WSGIApplication:
    """Return the dashboard of the database that `engine` reaches, on connections of its own.

    Optuna's cache, which the dashboard's own command does without, spares it reading finished trials again.
    """
    address = engine.url.render_as_string(hide_password=False)
    storage = RDBStorage(address, {"pool_pre_ping": True}, skip_compatibility_check=True, skip_table_creation=True)
    shown: WSGIApplication = wsgi(get_storage(storage))
    return shown
