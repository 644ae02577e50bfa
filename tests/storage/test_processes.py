import signal

import pytest

from fruits.storage.processes import ending


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "status 0"),
        (3, "status 3"),
        (-signal.SIGSEGV, "SIGSEGV"),
        (-35, "signal 35"),  # A real-time signal, which has no name.
    ],
)
def test_the_end_of_a_process_is_a_signal_or_a_status(status: int, said: str) -> None:
    assert ending(status) == said
