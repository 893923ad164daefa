"""The conditions that the package refuses, one exception each."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied


class TenancyError(Exception):
    """The root of every exception that the package raises."""


class ScopeRequired(TenancyError, RuntimeError):
    """Tenant rows were asked for with no active scope."""


class CrossOrganization(TenancyError, PermissionDenied):
    """A row, a key or a scope of another organization was reached for.

    It is a PermissionDenied, so that an uncaught one ends as a 403 page. Its text
    never tells whether the row exists.
    """


class RawSQLRefused(TenancyError, RuntimeError):
    """A statement names a tenant table without the organization's predicate."""


class ScopeInterleaved(TenancyError, RuntimeError):
    """A scope was left while another one, entered later, was still open."""


class UnsupportedDatabase(TenancyError, RuntimeError):
    """A connection's vendor is not one on which isolation is enforced."""
