"""What is drawn while a model trains, and must not hold it up."""

from time import monotonic

SHARE = 0.02  # of the time, at most, goes into drawing


class Sparing:
    """Says when something slow may be done again so that it takes no more than `SHARE` of the time.

    The first time, which imports and compiles, says nothing of what the next one will cost, and does not count.

    if sparing.due():
        with sparing:
            ...
    """

    def __init__(self) -> None:
        self.began = self.ended = self.cost = 0.0

    def due(self) -> bool:
        """True at first, and when enough time has gone by since the last time for what that cost."""
        return not self.ended or monotonic() - self.ended >= self.cost / SHARE

    def __enter__(self) -> None:
        self.began = monotonic()

    def __exit__(self, *exception: object) -> None:
        first, self.ended = not self.ended, monotonic()
        self.cost = 0.0 if first else self.ended - self.began
