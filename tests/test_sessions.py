"""The session engine; Django's own tests of session stores run on it first."""

from __future__ import annotations

import base64
import importlib.util
import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib.auth import (
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user,
    login,
    update_session_auth_hash,
)
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DjangoStore
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.management import call_command
from django.db import connection, connections
from django.http import HttpRequest
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone
from pytest_django import Settings

import tenancy
from tenancy.models import Membership, Organization, Session, User
from tenancy.sessions import SessionStore
from tenancy.tokens import digest_token


def load_django_tests() -> ModuleType | None:
    """Return Django's tests of sessions; None where there is no source of them."""
    folder = Path(os.environ.get("TENANCY_TEST_DJANGO_TESTS", ""), "sessions_tests")
    if not (folder / "tests.py").exists():
        return None
    for name in ("sessions_tests", "sessions_tests.models"):
        sys.modules[name] = ModuleType(name)
    # Its model belongs to an app of Django's test run; no test of it runs here.
    vars(sys.modules["sessions_tests.models"])["SessionStore"] = DjangoStore
    name = "sessions_tests.tests"
    spec = importlib.util.spec_from_file_location(name, folder / "tests.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


DJANGO_TESTS: Any = load_django_tests()  # Any: a module that is found at run time.

if DJANGO_TESTS is not None:

    class DjangoStoreTests(DJANGO_TESTS.DatabaseSessionTests):  # type: ignore[misc]  # found at run time
        """What Django asks of its own database store, with three exceptions.

        Each looks a row up by the key in clear, which the table does not hold:
        the text of a row is to be the key; a row is to decode its data, found by the
        key; the manager is to save data under a key. The tests below take their place.
        """

        backend = SessionStore
        session_engine = "tenancy.sessions"
        test_session_str = None
        test_session_get_decoded = None
        test_sessionmanager_save = None

    @override_settings(SESSION_ENGINE="tenancy.sessions")
    class DjangoMiddlewareTests(DJANGO_TESTS.SessionMiddlewareTests):  # type: ignore[misc]  # as above
        """What Django asks of its middleware, with this engine."""


def test_django_tests_are_run() -> None:
    """Django's own tests are collected from its source distribution."""
    if DJANGO_TESTS is None:
        pytest.skip("Django's tests are not at hand: python -m tests.run fetches them.")

    names = [name for name in dir(DjangoStoreTests) if name.startswith("test_")]

    assert len([name for name in names if getattr(DjangoStoreTests, name)]) > 70
