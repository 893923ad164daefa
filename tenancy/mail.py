"""The mails of the pages, each text and HTML, sent once the change is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string

logger = logging.getLogger("tenancy")


def send_mail_on_commit(
    name: str,
    *,
    to: str,
    context: dict[str, Any],
    using: str,
    on_failure: Callable[[], object],
) -> None:
    """Send a mail when the transaction is committed; at once where there is none.

    Args:
        name (str): of the templates "tenancy/mail/<name>.txt" and ".html", and of
            "<name>_subject.txt".
        to (str): the address.
        context (dict[str, Any]): what the templates show.
        using (str): the database of the transaction.
        on_failure (Callable): called where the mail cannot be handed over, which is
            logged and does not undo the change.
    """
    path = f"tenancy/mail/{name}"
    # A name with a line break in it must not become a header.
    subject = " ".join(render_to_string(f"{path}_subject.txt", context).split())
    message = EmailMultiAlternatives(
        subject, render_to_string(f"{path}.txt", context), to=[to]
    )
    message.attach_alternative(render_to_string(f"{path}.html", context), "text/html")

    def send() -> None:
        try:
            message.send()
        except OSError:  # SMTPException is one.
            logger.exception("The mail %r could not be sent.", name)
            on_failure()

    transaction.on_commit(send, using=using)
