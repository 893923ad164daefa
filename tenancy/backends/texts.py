"""Rules about text that each database states in its own way."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, Func


class HasOnly(Func):
    """True of a text that holds no other characters than those given.

    Args:
        expression (F | str): the text.
        characters (str): the inside of a character class, "a-z0-9-"; ASCII letters,
            digits, dots and hyphens only, since it becomes a part of the SQL.
    """

    output_field = BooleanField()
    conditional = True

    def __init__(self, expression: Any, characters: str) -> None:
        super().__init__(expression)
        self.characters = characters

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Every client of SQLite has GLOB; REGEXP is a function of Django's own.
        template = f"%(expressions)s NOT GLOB '*[^{self.characters}]*'"
        return super().as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"%(expressions)s !~ '[^{self.characters}]'"
        return super().as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # With regard to case, since the column's collation is an exact one.
        template = f"%(expressions)s NOT REGEXP '[^{self.characters}]'"
        return super().as_sql(compiler, connection, template=template, **context)


class HasShortWords(Func):
    """True of a text in which no word between dots is longer than so many characters.

    Args:
        expression (F | str): the text.
        longest (int): how long a word may be.
    """

    output_field = BooleanField()
    conditional = True

    def __init__(self, expression: Any, longest: int) -> None:
        super().__init__(expression)
        self.longest = longest

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # GLOB cannot count.
        word = "[^.]" * (self.longest + 1)
        template = f"%(expressions)s NOT GLOB '*{word}*'"
        return super().as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"%(expressions)s !~ '[^.]{{{self.longest + 1}}}'"
        return super().as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"%(expressions)s NOT REGEXP '[^.]{{{self.longest + 1}}}'"
        return super().as_sql(compiler, connection, template=template, **context)
