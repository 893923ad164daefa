"""The words of a statement, as the database that receives it reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

WORD = "word"
NAME = "name"  # A quoted identifier.
STRING = "string"
PLACEHOLDER = "placeholder"
SYMBOL = "symbol"


class Token(NamedTuple):
    """A word, a quoted name, a literal, a placeholder or an operator.

    Args:
        kind (str): one of the constants of this module.
        text (str): a word in upper case, a name or string without its quotes in lower
            case, an operator as it stands.
        start (int): where it begins in the statement.
        end (int): where it ends.
        key (int | str | None): of a placeholder, the parameter that it takes; None of
            a run of placeholders.
        written (str): of an identifier, the spelling that certainly means the same.
    """

    kind: str
    text: str
    start: int
    end: int
    key: int | str | None = None
    written: str = ""

    @property
    def name(self) -> str:
        """What the token says as an identifier, in lower case."""
        return fold(self.text)

    @property
    def is_identifier(self) -> bool:
        """Whether the token may name something."""
        return self.kind == WORD or self.kind == NAME


class Passing(Enum):
    """How the parameters of a statement are passed, which decides what "%" means."""

    NOTHING = "no parameters: a per cent sign is itself"
    SEQUENCE = "a sequence"
    MAPPING = "a mapping"

    @classmethod
    def of(cls, parameters: object) -> Passing:
        """Return how these parameters are passed."""
        if parameters is None:
            return cls.NOTHING
        return cls.MAPPING if isinstance(parameters, Mapping) else cls.SEQUENCE


@dataclass
class Tokens:
    """A statement taken apart.

    Args:
        tokens (list[Token]): what is code.
        hidden (list[int | str]): the parameters whose placeholder stands in a string
            or a comment, where a driver that pastes text puts them all the same.
        quoted (list[str]): texts that may be code to someone: the bodies of
            dollar-quoted strings.
        doubt (str): why the database may read the text otherwise than it was read
            here; empty where it may not.
        hides_names (bool): whether a table's name may be in it in other letters.
    """

    tokens: list[Token] = field(default_factory=list)
    hidden: list[int | str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)
    doubt: str = ""
    hides_names: bool = False


_WORD = r"(?P<word>[A-Za-z0-9_$\x80-\U0010ffff]+)"
_OPERATOR = r"(?P<operator>(?:(?!--|/\*)[<>=!~@#&|^+*/:\-])+)"
_OTHER = r"(?P<other>.)"
_PERCENT = (
    # The rows of a long INSERT, and a long IN, at one go.
    r"(?P<run>%s(?:\s*,\s*%s)+"
    r"|\(%s(?:\s*,\s*%s)*\)(?:\s*,\s*\(%s(?:\s*,\s*%s)*\))+)"
    r"|(?P<percent>%(?:\([^)]*\).|.|$))"
)
_MARKS = (
    r"(?P<run>\?(?:\s*,\s*\?(?![0-9]))+"
    r"|\(\?(?:\s*,\s*\?)*\)(?:\s*,\s*\(\?(?:\s*,\s*\?)*\))+)"
    # To SQLite ":a(b)" and ":a::b" are one variable each.
    r"|(?P<doubt>[:@$#][A-Za-z0-9_$\x80-\U0010ffff]*(?:\(|::))"
    r"|(?P<mark>\?[0-9]*|[:@$#][A-Za-z0-9_$]+)"
    r"|(?P<doubt3>[:@$#])"
)
_OPERATOR_OF_SQLITE = r"(?P<operator>(?:(?!--|/\*)[<>=!~&|^+*/\-])+)"
_IN_TEXT = re.compile(r"%(?:\(([^)]*)\)(.)|(.)|$)", re.DOTALL)
# A quote that ends a string to one setting of the server, and not to another.
_ESCAPED_QUOTE = re.compile(r"(?<!\\)(?:\\\\)*\\['\"]")
_CONVERTED = re.compile(r"(?<!%)%s")


_PLAIN_WORD = re.compile(r"[a-z0-9_$]+")
# What stands around a name, and twice where it is a part of one.
_QUOTES = str.maketrans("", "", '"`[]')
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code + 32: code for code in range(ord("A"), ord("Z") + 1)}


def _compile(*parts: str) -> re.Pattern[str]:
    # What all databases take for a space; they do not agree about any other.
    return re.compile("|".join(parts).replace(r"\s", r"[ \t\n\r\f]"), re.DOTALL)


def fold(text: str) -> str:
    """Return an identifier in lower case, of ASCII's letters only.

    Databases do not agree whether a Kelvin sign is a "k".
    """
    return text.lower() if text.isascii() else text.translate(_LOWER)


class Dialect:
    """How one family of databases writes strings, names and comments."""

    pastes_parameters = True
    pattern: re.Pattern[str]
    pattern_without_parameters: re.Pattern[str]
    has_nested_comments = False
    # Is a name in single quotes a name, where a string makes no sense?
    has_names_in_single_quotes = False
    # Is what stands in double quotes a string, unless a setting says otherwise?
    has_strings_in_double_quotes = False
    # Are two names that differ in case the same where they stand in no quotes?
    folds_words = False
    # Does a setting of the server's decide whether a backslash escapes a quote?
    doubts_escapes = True
    # Is "||" a logical OR?
    has_pipes_as_or = False
    # Does the server cut longer names to this many characters?
    name_length: int | None = None

    def read(self, sql: str, passing: Passing) -> Tokens:
        """Return the tokens of what the database receives.

        Args:
            sql (str): as it was given to the cursor.
            passing (Passing): how its parameters are.
        """
        return self.scan(sql, passing)

    def scan(self, sql: str, passing: Passing) -> Tokens:
        """Return the tokens of a text as it stands. See read()."""
        result = Tokens()
        if "\0" in sql:
            result.doubt = "a null character"
        counter = _Counter(passing)
        pattern = (
            self.pattern_without_parameters
            if passing is Passing.NOTHING
            else self.pattern
        )
        position = 0
        while match := pattern.match(sql, position):
            position = self._take(match, result, counter)
            if position >= len(sql):
                break
        if counter.doubt:
            result.doubt = counter.doubt
        return result

    def _take(self, match: re.Match[str], result: Tokens, counter: _Counter) -> int:
        kind = match.lastgroup
        text = match.group()
        start, end = match.span()
        add = result.tokens.append
        if kind == "word":
            if not text.isascii():
                # A space to one database may be a letter to another.
                result.doubt = f"{text!r} outside quotes"
            if self.name_length and len(text) > self.name_length:
                text = text[: self.name_length]
            written = fold(text) if self.folds_words else text
            text = text.upper() if text.isascii() else text.translate(_UPPER)
            add(Token(WORD, text, start, end, None, written))
        elif kind == "operator" or kind == "other":
            if text < " " or text == "\x7f":
                result.doubt = f"{text!r} outside quotes"
            add(Token(SYMBOL, text, start, end))
        elif kind == "run":
            counter.skip(text.count("s") if self.pastes_parameters else text.count("?"))
            add(Token(PLACEHOLDER, text, start, end))
        elif kind == "percent" or kind == "mark":
            key = counter.take(text)
            if key is None:
                add(Token(SYMBOL, "%", start, end))
            else:
                add(Token(PLACEHOLDER, text, start, end, key))
        elif kind == "name":
            quote = "]" if text[0] == "[" else text[0]
            name = text[1:-1].replace(quote * 2, quote)
            if self.name_length and len(name.encode(errors="replace")) > (
                self.name_length
            ):
                if not name.isascii():
                    result.doubt = f"the long name {name!r}"
                name = name[: self.name_length]
            self._hide(text, result, counter)
            if text[0] == '"':
                self._doubt_escape(text, result)
            if text[0] == '"' and self.has_strings_in_double_quotes:
                written = ""
            else:
                written = name
            add(Token(NAME, fold(name), start, end, None, written))
        elif kind == "string":
            self._hide(text, result, counter)
            if text[0] == "'":
                self._doubt_escape(text, result)
            if text[0] == "$":
                result.quoted.append(text)
            body = text if text[0] in "eE$" else text[1:-1]
            add(Token(STRING, fold(body), start, end, None, body))
        elif kind == "comment":
            if self.has_nested_comments and text == "/*":
                end = _end_of_nested_comment(match.string, start)
                text = match.string[start:end]
            self._hide(text, result, counter)
        elif kind is not None:
            result.doubt = repr(text)
            result.hides_names |= kind == "escapes"
        return end

    def _doubt_escape(self, text: str, result: Tokens) -> None:
        """Doubt a quote that a setting of the server's decides the meaning of."""
        if self.doubts_escapes and _ESCAPED_QUOTE.search(text, 1):
            result.doubt = "a quote after a backslash"

    def _hide(self, text: str, result: Tokens, counter: _Counter) -> None:
        """Count the placeholders of a text that is not code."""
        if not self.pastes_parameters or "%" not in text:
            return
        if counter.passing is Passing.NOTHING:
            return
        for match in _IN_TEXT.finditer(text):
            key = counter.take(match.group())
            if key is not None:
                result.hidden.append(key)


class TokenReader:
    """Looks about among the tokens of a statement.

    Args:
        tokens (Sequence[Token]): in their order.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens

    def _text(self, index: int) -> str:
        if 0 <= index < len(self.tokens):
            token = self.tokens[index]
            if token.kind in (SYMBOL, WORD):
                return token.text
            return "\0"  # Something that is neither a symbol nor a keyword.
        return ""

    def _word(self, index: int) -> str:
        if 0 <= index < len(self.tokens) and self.tokens[index].kind == WORD:
            return self.tokens[index].text
        return ""

    def _close_of(self, start: int) -> int:
        """Return where the parenthesis that opens here is closed."""
        depth = 0
        for index in range(start, len(self.tokens)):
            text = self._text(index)
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return index
        return len(self.tokens)


class _Counter:
    """Gives each placeholder the parameter that the driver gives it."""

    def __init__(self, passing: Passing) -> None:
        self.passing = passing
        self.position = 0
        self.doubt = ""

    def skip(self, count: int) -> None:
        self.position += count

    def take(self, text: str) -> int | str | None:
        """Return the parameter of a placeholder; None of an escaped per cent sign."""
        if text == "%%":
            return None
        if text in ("%s", "?", "%b", "%t"):
            if self.passing is Passing.MAPPING:
                self.doubt = f"the placeholder {text!r} beside named parameters"
            self.position += 1
            return self.position - 1
        name = text[2:-2] if text.startswith("%(") and text.endswith(")s") else ""
        name = name or (text[1:] if text[0] in ":" else "")
        if self.passing is not Passing.MAPPING or not name:
            self.doubt = f"the placeholder {text!r}"
        return name or None


def _end_of_nested_comment(sql: str, start: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)


class PostgreSQLDialect(Dialect):
    """PostgreSQL through psycopg, which pastes or binds "%s"."""

    has_nested_comments = True
    folds_words = True
    name_length = 63

    _PARTS = (
        r"\s+",
        r"(?P<comment>--[^\n\r]*|/\*)",
        r"(?P<escapes>[uU]&(?=['\"]))",
        # A string begins at the dollar sign, up to PostgreSQL 14.
        r"(?P<number>[0-9]+[A-Za-z0-9_]*\$)",
        r"(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'"
        r"|\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$"
        r".*?\$(?P=tag)\$)",
        r'(?P<name>"(?:[^"]|"")*")',
    )
    pattern = _compile(
        *_PARTS, _PERCENT, _WORD, _OPERATOR, r"(?P<doubt2>['\"])", _OTHER
    )
    pattern_without_parameters = _compile(
        *_PARTS, _WORD, _OPERATOR, r"(?P<doubt2>['\"])", _OTHER
    )


class MySQLDialect(Dialect):
    """MySQL and MariaDB, whose drivers paste "%s" by Python's own operator."""

    has_pipes_as_or = True
    has_strings_in_double_quotes = True
    _PARTS = (
        r"\s+",
        # To some version, or to one of the two servers, this comment is code.
        r"(?P<doubt>/\*M?!)",
        # A string in dollar quotes begins there, from MySQL 9.
        r"(?P<dollar>\$)",
        r"(?P<comment>--(?=\s|$)[^\n]*|#[^\n]*|/\*.*?\*/)",
        r"(?P<string>'(?:[^'\\]|\\.|'')*')",
        # With ANSI_QUOTES it is a name.
        r'(?P<name>"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`)',
    )
    pattern = _compile(
        *_PARTS, _PERCENT, _WORD, _OPERATOR, r"(?P<doubt2>['\"`])", _OTHER
    )
    pattern_without_parameters = _compile(
        *_PARTS, _WORD, _OPERATOR, r"(?P<doubt2>['\"`])", _OTHER
    )


class SQLiteDialect(Dialect):
    """SQLite, to which Django hands "?" for "%s"."""

    pastes_parameters = False
    doubts_escapes = False
    has_names_in_single_quotes = True
    _PARTS = (
        r"\s+",
        r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))",
        r"(?P<string>'(?:[^']|'')*')",
        r'(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])',
        _MARKS,
    )
    pattern = _compile(
        *_PARTS, _WORD, _OPERATOR_OF_SQLITE, r"(?P<doubt2>['\"`\[])", _OTHER
    )
    pattern_without_parameters = pattern

    def read(self, sql: str, passing: Passing) -> Tokens:
        if passing is Passing.SEQUENCE:
            sql = _CONVERTED.sub("?", sql).replace("%%", "%")
        elif passing is Passing.MAPPING:
            sql = _name_parameters(sql)
        return self.scan(sql, passing)


def _name_parameters(sql: str) -> str:
    """Return what Django's cursor makes of "%(name)s", whatever the names are."""
    return _IN_TEXT.sub(
        lambda match: "%" if match.group() == "%%" else f":{match.group(1)}", sql
    )


def words_of(text: str) -> Iterator[str]:
    """Return whatever may be a name in a text that is not read as code."""
    for match in re.finditer(r"[A-Za-z0-9_$\x80-\U0010ffff]+", text):
        yield match.group().lower()


def plain_words(text: str) -> set[str]:
    """Return whatever stands between characters that no plain name has."""
    return set(_PLAIN_WORD.findall(text.lower()))


def names_in(text: str, names: Collection[str]) -> set[str]:
    """Return which names may be in a text, whatever stands beside them."""
    text = text.lower()
    found = {word for word in plain_words(text) if word in names}
    bare = text.translate(_QUOTES)
    found.update(
        name
        for name in names
        if not _PLAIN_WORD.fullmatch(name) and name.translate(_QUOTES) in bare
    )
    return found
