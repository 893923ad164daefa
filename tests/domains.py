"""Browsers that are signed in at an organization's own domain."""

from __future__ import annotations

from django.test import Client

from tenancy.sessions import DOMAIN


def sign_in_at(domain: str, client: Client) -> None:
    """Let a client's session have begun at a domain; force_login() asks no host."""
    session = client.session
    session[DOMAIN] = domain
    session.save()
