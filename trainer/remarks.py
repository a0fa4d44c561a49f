"""What a run tells its user between two steps, said and written down alike."""

from collections.abc import Callable

from advisor.records import Note
from trainer.journal import Journal
from trainer.state import TrainState


class Remarks:
    """Warnings and alarms: each is an event of the run, at the samples it has seen, and a line for the user."""

    def __init__(self, journal: Journal, state: TrainState, on_note: Callable[[Note], None]) -> None:
        self._journal, self._state, self._on_note = journal, state, on_note

    def warn(self, said: Note, *, is_new: bool = True) -> None:
        """Something that the user should know; only written down if it is not new."""
        self._write("warning", said)
        if is_new:
            self._on_note(said)

    def alarm(self, said: Note) -> None:
        """Something that a health check found."""
        self._write("alarm", said)
        self._on_note(said)

    def _write(self, kind: str, said: Note) -> None:
        self._journal.event(kind, self._state.samples_seen, text=said.text, id=said.id, values=said.values)
