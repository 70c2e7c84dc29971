"""A kernel's answer that wakes nobody is found, and a kernel that dies at once started again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import Empty

import pytest

from tools.kernels import Channel, Manager, start


class Deaf:
    """A socket that sleeps through its first message, and is awake when asked again."""

    def __init__(self, wakes=True):
        self.asked, self.wakes = 0, wakes

    async def poll(self, milliseconds):
        self.asked += 1
        await asyncio.sleep(milliseconds / 1000)
        return int(self.wakes and self.asked > 1)


def channel(socket):
    one = Channel.__new__(Channel)  # which refuses any socket but its own
    one.socket = socket

    async def received():
        return "answer"

    one._recv = received
    return one


def run(wait):
    """What a coroutine gives, in a thread of its own: the browser's tests leave a loop in ours."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait).result()


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_message_that_woke_nobody_is_found_a_second_later(timeout):
    assert run(channel(Deaf()).get_msg(timeout)) == "answer"


def test_silence_ends_after_the_timeout():
    socket = Deaf(wakes=False)
    with pytest.raises(Empty):
        run(channel(socket).get_msg(1.5))
    assert socket.asked == 2


def test_a_lessons_client_asks_so():
    client = Manager().client()
    assert client.shell_channel_class is Channel
    assert client.iopub_channel_class is Channel


class Unlucky:
    """A notebook's client whose kernel dies at its start so many times."""

    def __init__(self, deaths):
        self.deaths, self.made, self.environments = deaths, 0, []

    def create_kernel_manager(self):
        self.made += 1

    def start_new_kernel(self, env):
        self.environments.append(env)

    def start_new_kernel_client(self):
        if self.made <= self.deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")


@pytest.mark.parametrize("deaths", [0, 2])
def test_a_kernel_that_dies_at_its_start_is_started_again(deaths):
    client = Unlucky(deaths)
    start(client, {"SEED": "1"})
    assert client.environments == [{"SEED": "1"}] * (deaths + 1)


def test_a_kernel_that_dies_three_times_is_given_up():
    with pytest.raises(RuntimeError, match="Kernel died"):
        start(Unlucky(3), {})
