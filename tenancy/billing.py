"""Who applies which event of a payment provider."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from tenancy import conf
from tenancy.exceptions import BillingHandlerMissing

Handler = Callable[[Any], bool]
H = TypeVar("H", bound=Handler)

_handlers: dict[tuple[str, str], Handler] = {}


def billing_handler(provider: str, *types: str) -> Callable[[H], H]:
    """Decorate the function that applies a provider's events of some types.

    It is called with the BillingEvent, in the scope of the organization whose
    customer the event names, under the organization's lock and in the transaction
    that marks the event as applied. It returns True when it has applied the event, and
    False when the state is newer than the event. What it raises undoes its work; the
    event is kept as failed, and the handler is called again later.

    Args:
        provider (str): the provider's name: "stripe".
        *types (str): the events' types, in the provider's words.
    Raises:
        ValueError: another function is registered for one of them.
    """

    def register(handler: H) -> H:
        for type in types:
            if _handlers.setdefault((provider, type), handler) is not handler:
                raise ValueError(
                    f"The events {type!r} of {provider!r} have a handler. Register "
                    "one function for each type."
                )
        return handler

    return register


def find_handler(provider: str, type: str) -> Handler | None:
    """Return what applies the events of a type, or None where nothing does.

    Raises:
        BillingHandlerMissing: nothing is registered for the provider at all.
    """
    for module in conf.billing_handlers():
        import_module(module)
    if not any(known == provider for known, _ in _handlers):
        raise BillingHandlerMissing(
            f"No handler of the provider {provider!r} is registered. Name its module "
            "in TENANCY_BILLING_HANDLERS."
        )
    return _handlers.get((provider, type))
