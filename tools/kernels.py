"""Kernels whose answers are not missed: nbclient's manager with channels that ask once a second.

A message now and then arrives and does not wake the client that waits for it (seen with pyzmq 27,
when several kernels ran). The kernel is done, the client waits for ever. Asking again finds it.
"""

import math
import time
from queue import Empty

from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from traitlets import Type


class Channel(AsyncZMQSocketChannel):
    """Asks for a message once a second, until ``timeout`` seconds have passed."""

    async def get_msg(self, timeout=None):
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await super().get_msg(timeout=max(0, min(1, left)))
            except Empty:
                if left <= 1:
                    raise


class Client(AsyncKernelClient):
    """A client with such channels, for requests and for outputs."""

    shell_channel_class = Type(Channel)
    iopub_channel_class = Type(Channel)


class Manager(AsyncKernelManager):
    """A manager with such clients."""

    client_factory = Type(Client)


def start(client: NotebookClient, environment: dict) -> None:
    """Start the kernel of a client; thrice if need be, as another may take its port meanwhile."""
    for further in (2, 1, 0):
        client.create_kernel_manager()
        client.start_new_kernel(env=environment)
        try:
            client.start_new_kernel_client()
            return
        except RuntimeError:  # it died before it answered
            if not further:
                raise
