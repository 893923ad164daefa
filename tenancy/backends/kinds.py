"""Rules about the kind of JSON that each database states in its own way."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Func


class HasKind(Func):
    """True of JSON that is of a kind; false of NULL.

    Args:
        expression (F | str): the JSON.
        kind (str): "object" or "array"; it becomes a part of the SQL.
    """

    output_field = BooleanField()
    conditional = True

    def __init__(self, expression: Any, kind: str) -> None:
        super().__init__(expression)
        self.kind = kind

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self._compare("JSON_TYPE", self.kind, compiler, connection, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self._compare("JSONB_TYPEOF", self.kind, compiler, connection, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        kind = self.kind.upper()
        return self._compare("JSON_TYPE", kind, compiler, connection, **context)

    def _compare(
        self, function: str, kind: str, compiler: Any, connection: Any, **context: Any
    ) -> Any:
        template = f"COALESCE({function}(%(expressions)s), '') = '{kind}'"
        return super().as_sql(compiler, connection, template=template, **context)
