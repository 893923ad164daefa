"""The role that passes by the policies, for tenancy.unscoped() where one is set.

With it the policy is an equality, which PostgreSQL's planner merges with the ORM's own
predicate. The role is entered in the message of each statement that concerns rows, and
ends with it; what changes the schema runs as the owner of the tables all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from tenancy.backends.enforcement import Fault, literal
from tenancy.backends.guard import Verdict
from tenancy.backends.tokens import Passing, PostgreSQLDialect
from tenancy.exceptions import RawSQLRefused

OLDEST = 160_000
"""The first version in which a membership is of use without being inherited."""

OWN_BLOCK = "DO $tenancy$"
"""How the package's own blocks begin, which change the schema."""

TRANSACTION_CONTROL = frozenset(
    {"ABORT", "BEGIN", "COMMIT", "END", "PREPARE", "RELEASE", "ROLLBACK", "SAVEPOINT"}
    | {"START"}
)

_OF_THE_OWNER = frozenset({"ALTER", "CREATE", "REFRESH", "TRUNCATE"})
# A check of rows that are there, by a query of the server's own.
_CHECKS_KEYS = frozenset({"ATTACH", "FOREIGN", "REFERENCES", "VALIDATE"})
# The other table is not named.
_CHECKS_UNNAMED = frozenset({"ATTACH", "VALIDATE"})


class Prefix(NamedTuple):
    """What goes around a statement, in its message.

    Args:
        before (bytes): the statements before it, on a line of their own.
        results (int): how many results they have.
        after (bytes): a statement after it, or nothing.
    """

    before: bytes
    results: int
    after: bytes = b""

    def __add__(self, other: object) -> Prefix:
        assert isinstance(other, Prefix)
        before = self.before.rstrip(b"\n") + b" " + other.before
        return Prefix(before, self.results + other.results, other.after)


def write_enter(role: str) -> Prefix:
    """Return what makes the rest of a message, or of a transaction, the role's."""
    text = sql.SQL("SET LOCAL role = {};\n").format(sql.Identifier(role))
    return Prefix(text.as_bytes(None), 1)


def write_leave(connection: BaseDatabaseWrapper) -> Prefix:
    """Return what takes the connection's own role again."""
    assumed = connection.settings_dict["OPTIONS"].get("assume_role")
    if assumed:
        return write_enter(assumed)
    return Prefix(b"SET LOCAL role = DEFAULT;\n", 1)


def write_connected(connection: BaseDatabaseWrapper, role: str) -> str:
    """Return SQL of the connection's own role, also where another was entered."""
    assumed = connection.settings_dict["OPTIONS"].get("assume_role")
    own = literal(assumed) if assumed else "session_user"
    return f"CASE current_user WHEN {literal(role)} THEN {own} ELSE current_user END"


def runs_as_role(verdict: Verdict, text: str) -> bool:
    """Return whether a text that carries the scope concerns rows.

    Raises:
        RawSQLRefused: a part of it does, and a part needs the owner of the tables; or
            its rows are read by the owner whoever asks.
    """
    verbs = {statement.verb for statement in verdict.statements} - {"SET"}
    if "REFRESH" in verbs:
        raise RawSQLRefused(
            "REFRESH was refused in tenancy.unscoped(): it reads as the view's owner, "
            "who with TENANCY_UNSCOPED_ROLE sees one organization's rows only. Run it "
            "in the organization's scope, or in no scope for a view of other tables."
        )
    if text.lstrip().startswith(OWN_BLOCK):
        return False
    of_the_owner = verbs & _OF_THE_OWNER
    if of_the_owner and verbs - _OF_THE_OWNER:
        names = ", ".join(sorted(verbs))
        raise RawSQLRefused(
            f"A text of several statements ({names}) was refused in "
            "tenancy.unscoped(): a part needs the owner of the tables, and a part the "
            "role of TENANCY_UNSCOPED_ROLE. Send them one by one."
        )
    return not of_the_owner


def write_unforced(verdict: Verdict, text: str) -> Prefix | None:
    """Return what lets the owner see all rows while a statement checks or copies them.

    None where it does neither: a rewrite of a table and an index read past policies.
    """
    words = set[str]().union(*(statement.words for statement in verdict.statements))
    verbs = {statement.verb for statement in verdict.statements}
    copies = "CREATE" in verbs and words & {"TABLE", "MATERIALIZED"}
    if not copies and not ("ALTER" in verbs and words & _CHECKS_KEYS):
        return None
    tokens = PostgreSQLDialect().scan(text, Passing.NOTHING).tokens
    names = sorted({token.name for token in tokens if token.is_identifier})
    unforce = write_block(
        _UNFORCE.format(
            names=", ".join(map(literal, names)),
            referenced=_REFERENCED if words & _CHECKS_UNNAMED else "",
        ),
        declare="named oid[]; one record; found text := '';",
    )
    force = write_block(_FORCE, declare="one record;")
    # On one line, so that an error's line is that of the statement.
    before = " ".join(unforce.split()) + ";\n"
    return Prefix(before.encode(), 1, force.encode())


def write_block(body: str, *, declare: str = "") -> str:
    """Return an anonymous block: one statement, that may look before it acts."""
    declaration = f"DECLARE {declare}\n" if declare else ""
    return f"{OWN_BLOCK}\n{declaration}BEGIN{body}END\n$tenancy$"


class UnscopedRole:
    """The statements that make, and the questions that judge, the role.

    Args:
        connection (BaseDatabaseWrapper): the connection that is to enter it.
        name (str): the role's.
    """

    def __init__(self, connection: BaseDatabaseWrapper, name: str) -> None:
        self.connection = connection
        self.name = name
        self.quoted = connection.ops.quote_name(name)
        self._membership = _MEMBERSHIP.format(write_connected(connection, name))

    def write_role(self, member: str) -> list[str]:
        """Return what an administrator runs, once for a server; again is nothing.

        Args:
            member (str): the role that may enter it.
        """
        quoted = self.connection.ops.quote_name(member)
        return [
            write_block(
                f"""
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(self.name)}) THEN
        CREATE ROLE {self.quoted} NOLOGIN;
    END IF;
"""
            ),
            f"GRANT {self.quoted} TO {quoted} WITH INHERIT FALSE, SET TRUE",
        ]

    def write_rights(self, owner: str, schema: str) -> list[str]:
        """Return what the owner of the tables runs, once for a database.

        Args:
            owner (str): the role that makes the later tables.
            schema (str): where the tables stand.
        """
        owner, schema = map(self.connection.ops.quote_name, (owner, schema))
        tables, sequences = "SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT, UPDATE"
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner}"
        return [
            f"GRANT USAGE ON SCHEMA {schema} TO {self.quoted}",
            f"GRANT {tables} ON ALL TABLES IN SCHEMA {schema} TO {self.quoted}",
            f"GRANT {sequences} ON ALL SEQUENCES IN SCHEMA {schema} TO {self.quoted}",
            f"{later} GRANT {tables} ON TABLES TO {self.quoted}",
            f"{later} GRANT {sequences} ON SEQUENCES TO {self.quoted}",
        ]

    def find_faults(
        self, version: int, fetch: Callable[[str, Sequence[str]], list[Any]]
    ) -> Iterable[Fault]:
        """Return why the role cannot be entered, or need not be.

        Args:
            version (int): the server's.
            fetch (Callable): returns the rows of a query, of any values.
        """
        make = "Run 'create_unscoped_role'."
        if version < OLDEST:
            yield Fault(
                "",
                "role",
                f"TENANCY_UNSCOPED_ROLE is {self.name!r}, and the server is older than "
                "PostgreSQL 16.",
                "Remove the setting, and run 'create_unscoped_role --drop'.",
            )
        elif not (rows := fetch(self._membership, [self.name])):
            yield Fault("", "role", f"The role '{self.name}' is missing.", make)
        else:
            ((member, is_inherited, can_be_entered),) = rows
            grant = self.write_role(member)[1]
            if is_inherited:
                yield Fault(
                    "",
                    "role",
                    f"The role '{member}' inherits from '{self.name}', so every policy "
                    "is passed by.",
                    f"Run: {grant}; and revoke other memberships that lead to it.",
                )
            if not can_be_entered:
                yield Fault(
                    "",
                    "role",
                    f"The role '{member}' cannot enter '{self.name}'.",
                    f"Run: {grant};",
                )


_MEMBERSHIP = """
SELECT member.rolname, pg_has_role(member.oid, entered.oid, 'USAGE'),
    pg_has_role(member.oid, entered.oid, 'SET')
FROM pg_roles AS entered JOIN pg_roles AS member ON member.rolname = {}
WHERE entered.rolname = %s
"""

_UNFORCE = """
    SET CONSTRAINTS ALL IMMEDIATE;
    named := ARRAY(
        SELECT oid FROM pg_class
        WHERE lower(relname) = ANY (ARRAY[{names}]) AND pg_table_is_visible(oid)
    );
    FOR one IN
        SELECT oid, oid::regclass::text AS name FROM pg_class
        WHERE relforcerowsecurity AND (oid = ANY (named) {referenced})
    LOOP
        EXECUTE 'ALTER TABLE ' || one.name || ' NO FORCE ROW LEVEL SECURITY';
        found := found || ' ' || one.oid;
    END LOOP;
    PERFORM set_config('tenancy.unforced', found, true);
"""
_REFERENCED = """OR oid IN (
            SELECT confrelid FROM pg_constraint
            WHERE contype = 'f' AND conrelid = ANY (named)
        )"""
_FORCE = """
    FOR one IN
        SELECT oid::regclass::text AS name FROM pg_class WHERE oid::text = ANY (
            string_to_array(current_setting('tenancy.unforced'), ' ')
        )
    LOOP
        EXECUTE 'ALTER TABLE ' || one.name || ' FORCE ROW LEVEL SECURITY';
    END LOOP;
"""
