"""A connection between two protocols whose bytes the test delivers, as many at a time and as late as it likes."""

import asyncio
from typing import Any


class End(asyncio.Transport):
    """One end: what its protocol writes, waits in `sent` until the test delivers it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closing = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closing:
            self.sent += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        assert not self.closing
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closing
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Pipe:
    """From a speaker to a listener, as a Unix socket is: what was written before a close still arrives."""

    def __init__(self, speaker: asyncio.Protocol, listener: asyncio.Protocol):
        self.speaker, self.listener = speaker, listener
        self.near, self.far = End(), End()
        self.spoken = True
        """Whether the speaker is still there."""
        self.heard = True
        listener.connection_made(self.far)
        speaker.connection_made(self.near)

    @property
    def over(self) -> bool:
        return not self.heard

    def deliver(self, size: int | None = None) -> None:
        """Bring bytes to the listener (all where `size` is None); the end of the stream follows the last one."""
        if not self.heard or not self.far.reading:
            return
        data = bytes(self.near.sent[:size])
        del self.near.sent[: len(data)]
        if data:
            self.listener.data_received(data)
        if self.far.closing:
            self.listener_gone(told=True)
        elif not self.near.sent and (not self.spoken or self.near.closing):
            self.heard = False
            self.listener.connection_lost(None)
            self._tell_speaker()

    def speaker_gone(self) -> None:
        """The speaker was killed: it learns nothing any more, and what it wrote still arrives."""
        self.spoken = False

    def listener_gone(self, *, told: bool = False) -> None:
        """The listener has closed, or was killed (not `told`): what was not delivered is lost."""
        if not self.heard:
            return
        self.heard = False
        self.near.sent.clear()
        if told:
            self.listener.connection_lost(None)
        self._tell_speaker()

    def _tell_speaker(self) -> None:
        if self.spoken:
            self.spoken = False
            self.near.closing = True
            self.speaker.connection_lost(None)
