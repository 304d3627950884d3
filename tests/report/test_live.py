"""What a person sees while a study computes, at times of our choice."""

import io

import pytest
from rich.console import Console

from sparsescape.report.live import LiveProgress


class Seen:
    """A display, and a clock that stands still between two looks."""

    def __init__(self, terminal: bool = True):
        self.now = 100.0
        self.text = io.StringIO()
        self.console = Console(file=self.text, force_terminal=terminal, width=80)
        self.live = LiveProgress(self.console, clock=lambda: self.now)

    def do(self, key: str, at: float) -> None:
        self.live({"event": "begun", "key": key})
        self.now = 100.0 + at
        self.live({"event": "done", "key": key})

    @property
    def whole(self) -> str:
        """The line of the whole command."""
        return self.lines[0] if self.lines else ""

    @property
    def lines(self) -> list[str]:
        """All that is drawn on a narrow terminal."""
        with self.console.capture() as drawn:
            self.console.print(self.live.drawn(), highlight=False)
        return [line for line in drawn.get().splitlines() if line]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_time_and_stages_go_on_over_all_rounds(seen):
    seen.live.expect({"a": "first", "b": "second"})
    seen.do("a", at=30)
    assert seen.whole == "1 of 2 stages planned so far, 30 s; about 30 s left of these"
    seen.do("b", at=80)
    assert seen.whole == "2 of 2 stages planned so far, 1 min 20 s"
    seen.live.expect({"c": "third", "d": "fourth"})  # the next round
    assert seen.whole == (
        "2 of 4 stages planned so far, 1 min 20 s; about 1 min 20 s left of these"
    )


def test_what_is_asked_for_again_is_counted_once(seen):
    seen.live.expect({"a": "first"})
    seen.do("a", at=1)
    seen.live.expect({})
    seen.live.expect({"b": "second"})
    seen.live.expect({"b": "second"})
    assert seen.whole.startswith("1 of 2 stages")


def test_a_stage_under_way_counts_by_its_steps(seen):
    seen.live.expect({"a": "first", "b": "second"})
    seen.live({"event": "begun", "key": "a"})
    seen.now += 10
    assert seen.whole == "0 of 2 stages planned so far, 10 s"  # of what is left nothing is known
    seen.live({"event": "step", "key": "a", "step": 49, "steps": 100, "loss": "0.5"})
    assert seen.whole == "0 of 2 stages planned so far, 10 s; about 30 s left of these"
    _, bar, stage = seen.lines
    assert "first" not in bar
    assert "first" in stage
    assert "step 50, loss 0.5000" in stage


def test_nothing_is_drawn_of_what_has_nothing_to_do(seen):
    seen.live.expect({})
    assert seen.whole == ""


def test_where_there_is_no_terminal_a_line_says_the_same():
    seen = Seen(terminal=False)
    with seen.live as live:
        live.expect({"a": "first"})
        seen.do("a", at=30)
        live.expect({"b": "second", "c": "third"})
        seen.do("b", at=95)
    assert seen.text.getvalue().splitlines() == [
        "[1 of 1 planned, 30 s] first",
        "[2 of 3 planned, 95 s] second",
    ]


def test_in_a_file_a_stage_is_one_line_however_long_its_name():
    seen, name = Seen(terminal=False), 12 * "a long name "
    seen.live.expect({"a": name})
    seen.do("a", at=1)
    assert seen.text.getvalue() == f"[1 of 1 planned, 1 s] {name}\n"
