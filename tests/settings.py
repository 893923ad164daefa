"""Settings of the test run. The database comes from ``TENANCY_TEST_DATABASE_URL``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import django
import environ

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "not a secret: tests only"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "tenancy.User"
TENANCY_ORGANIZATION_MODEL = "tenancy.Organization"
ROOT_URLCONF = "project.urls"
STATIC_URL = "static/"
# The slow hashers protect nobody here.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Django 6.1 warns where nothing says how mail is sent; a test run keeps it.
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

INSTALLED_APPS = [
    "tenancy",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "project.tracker",
    # Apps of the tests' own models are added here: "tests.apps.<name>".
    "tests.apps.notebook",
    "tests.apps.notes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def read_database() -> dict[str, Any]:  # Any: Django's settings are untyped.
    """Return the database to test on: a server's URL, or a new SQLite file.

    The test database is a file as well, since threads do not see one in memory.
    """
    if url := env.str("TENANCY_TEST_DATABASE_URL", default=""):
        server: dict[str, Any] = env.db_url_config(url)  # Any: as above.
        return server
    folder = Path(tempfile.mkdtemp(prefix="tenancy-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": folder / "tenancy.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": folder / "test.sqlite3"},
    }


DATABASES = {
    "default": read_database(),
    # A second alias ("replica", "other") is added here by the tests that need one.
}
