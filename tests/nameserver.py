"""A name server on the loopback, which dnspython asks as it asks any other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tenancy.challenges import name_record

SILENT = "silent"
"""The text of a record about which the server says nothing."""

FAILING = "failing"
"""The text of a record about which the server fails."""


class NameServer:
    """Answers for TXT records; of other names, that there is no such name.

    ``address`` is for TENANCY_DNS_SERVERS; ``on_question`` is called in its thread.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._socket.getsockname())
        self.texts: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.on_question: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def publish(self, host: str, *texts: str) -> None:
        """Set the records of a domain; none is a name without records."""
        self.texts[f"{name_record(host)}."] = list(texts)

    def withdraw(self, host: str) -> None:
        """Forget the name of a domain's record."""
        del self.texts[f"{name_record(host)}."]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An empty message ends the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = self._answer(query)
            if answer is not None:
                self._socket.sendto(answer.to_wire(), sender)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        (question,) = query.question
        name = question.name.to_text()
        self.asked.append((name, question.to_text().split()[-1]))
        self.on_question()
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        texts = self.texts.get(name)
        if texts is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif texts == [FAILING]:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif texts == [SILENT]:
            return None
        elif texts:
            records = [f'"{text[:30]}" "{text[30:]}"' for text in texts]
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *records))
        return answer
