import io
import threading

import pytest
from ipykernel.iostream import OutStream

from fruits.runs import progress
from fruits.runs.progress import Stages, images_bar, replaces_lines


class Log(io.StringIO):
    """Collects the printed text, and wakes the stages that wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


class Screen(Log):
    """A terminal."""

    def isatty(self) -> bool:
        return True

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


def test_the_seconds_of_all_stages_are_below_each_other() -> None:
    screen = Screen()
    stages = Stages(screen, after=3600)
    for name in ("list", "predictor", "model"):
        with stages(name):
            pass
    assert len({line.rindex(".") for line in screen.shown() if line}) == 1


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


@pytest.mark.parametrize("fails", [False, True])
def test_a_log_has_complete_lines_only(fails: bool) -> None:
    log = Log()
    stages = Stages(log, after=0)
    try:
        with stages("fit"):
            assert log.written.wait(60)
            assert log.getvalue() == "fit ...\n"
            if fails:
                raise OSError("full")
    except OSError:
        assert log.getvalue() == "fit ...\n"
    else:
        assert log.getvalue() == f"fit ...\nfit       {stages.seconds['fit']:8.1f} s\n"


def test_a_bar_in_a_log_is_complete_lines_and_not_many(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    with images_bar(1000, log) as bar:
        for _ in range(100):
            bar.update(10)
    assert "\r" not in log.getvalue()
    first, last = log.getvalue().splitlines()
    assert first.startswith("images: 0/1000 [")
    assert last.startswith("images: 1000/1000 [")
    assert last.endswith(" images/s]")
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    often = Log()
    with images_bar(30, often) as bar:
        for _ in range(3):
            bar.update(10)
    counts = [line.split()[1] for line in often.getvalue().splitlines()]
    assert counts[:4] == ["0/30", "10/30", "20/30", "30/30"]


def test_a_bar_on_a_terminal_replaces_itself() -> None:
    screen = Screen()
    with images_bar(30, screen) as bar:
        bar.update(30)
    (line, rest) = screen.shown()
    assert line.startswith("images: 100%|")
    assert rest == ""


def test_a_notebook_replaces_lines_like_a_terminal() -> None:
    stream = OutStream.__new__(OutStream)
    # Its own answer, which is no if a notebook is the front end.
    stream._isatty = False
    assert replaces_lines(stream)
    assert not replaces_lines(io.StringIO())
