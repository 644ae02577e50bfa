import io
import threading

import pytest

from fruits.runs.progress import Stages


class Screen(io.StringIO):
    """Collects the printed text, and wakes the stages that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count

    def shown(self) -> list[str]:
        """The lines as a terminal shows them: text after a carriage return overwrites the line."""
        lines = []
        for line in self.getvalue().split("\n"):
            seen = ""
            for part in line.split("\r"):
                seen = part + seen[len(part) :]
            lines.append(seen.rstrip())
        return lines


def test_a_running_stage_is_named_and_a_finished_one_is_timed() -> None:
    screen = Screen()
    stages = Stages(screen, after=0)
    with stages("fit"):
        assert screen.written.wait(60)
        assert screen.shown() == ["fit ..."]
    (line, rest) = screen.shown()
    assert line.split() == ["fit", f"{stages.seconds['fit']:.1f}", "s"]
    assert rest == ""


def test_a_fast_stage_is_one_line() -> None:
    screen = Screen()
    stages = Stages(screen, after=3600)
    with stages("list"):
        pass
    assert "\r" not in screen.getvalue()
    assert screen.getvalue().startswith("list ")


@pytest.mark.parametrize("after", [0, 3600])
def test_a_failed_stage_leaves_an_empty_line_and_no_time(after: float) -> None:
    screen = Screen()
    stages = Stages(screen, after=after)

    def fail() -> None:
        with stages("project"):
            assert after or screen.written.wait(60)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert screen.shown() == [""]
    assert stages.seconds == {}
