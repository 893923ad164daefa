"""A picture of models: a Mermaid diagram, which code hosts draw from its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.db.models import Field, ForeignKey, ManyToManyField, Model, OneToOneField

from tenancy.predicates import tenant_field

BEGIN = "<!-- draw_schema begins -->"
END = "<!-- draw_schema ends -->"

_INDENT = "    "


def draw(configs: Sequence[AppConfig]) -> str:
    """Return the entities and relations of the models of apps, as Mermaid.

    Models of other apps appear where a relation leads to them, without their fields.
    """
    models = [
        model
        for config in configs
        for model in config.get_models()
        if not model._meta.proxy
    ]
    return "\n".join(["erDiagram", *_Picture(models).write()])


def place(picture: str, text: str) -> str | None:
    """Return a text with the picture between its two markers; None without them."""
    before, begin, rest = text.partition(BEGIN)
    _former, end, after = rest.partition(END)
    if not (begin and end):
        return None
    return f"{before}{BEGIN}\n```mermaid\n{picture}\n```\n{END}{after}"


class _Picture:
    """The lines of some models, protected ones first, each by its name."""

    def __init__(self, models: Sequence[type[Model]]) -> None:
        self.models = models
        reached = {*models, *(target for _, target, _ in self._find_relations())}
        self.counts = Counter(model._meta.object_name for model in reached)

    def write(self) -> Iterator[str]:
        groups = (
            ("Protected: each row belongs to one organization.", True),
            ("Global: rows of no organization.", False),
        )
        for title, is_protected in groups:
            models = [
                model
                for model in self.models
                if (tenant_field(model) is not None) is is_protected
            ]
            if models:
                yield f"{_INDENT}%% {title}"
            for model in sorted(models, key=self._name):
                yield from self._write_entity(model, is_protected=is_protected)
        yield f"{_INDENT}%% Relations."
        yield from sorted(
            f"{_INDENT}{self._name(target)} {_ends(field)} {self._name(model)}"
            f' : "{field.name}"'
            for model, target, field in self._find_relations()
        )

    def _write_entity(self, model: type[Model], *, is_protected: bool) -> Iterator[str]:
        name = self._name(model)
        mark = f'["{name} (protected)"]' if is_protected else ""
        yield f"{_INDENT}{name}{mark} {{"
        for field in model._meta.local_concrete_fields:
            # In the picture's language a name is one word.
            column = re.sub(r"\W", "_", field.column or "")
            words = [_type(field), column, _keys(field), _comment(field)]
            yield f"{_INDENT * 2}{' '.join(word for word in words if word)}"
        yield f"{_INDENT}}}"

    def _find_relations(self) -> Iterator[tuple[type[Model], Any, Any]]:
        """Yield model, target and field. Any: a field of either kind."""
        for model in self.models:
            for field in model._meta.local_fields:
                if isinstance(field, ForeignKey):
                    yield model, field.remote_field.model, field
            for link in model._meta.local_many_to_many:
                through: Any = link.remote_field.through  # A model, once loaded.
                # One of the project's own is an entity with two relations.
                if through._meta.auto_created:
                    yield model, link.remote_field.model, link

    def _name(self, model: type[Model]) -> str:
        name = model._meta.object_name or ""
        if self.counts[name] < 2:
            return name
        return f"{model._meta.app_label}_{name}"


def _ends(field: Any) -> str:  # Any: as above.
    """Return how many rows are at each end of a relation, the target's first."""
    if isinstance(field, ManyToManyField):
        return "}o--o{"
    target = "|o" if field.null else "||"
    return f"{target}--{'o|' if isinstance(field, OneToOneField) else 'o{'}"


def _type(field: Field[Any, Any]) -> str:
    while isinstance(field, ForeignKey):
        field = field.target_field
    if field.generated:
        field = field.output_field  # type: ignore[attr-defined]  # of generated ones
    word = field.get_internal_type().removesuffix("Field").lower()
    # The width of a number is no matter of a picture.
    word = re.sub(r"\A(positive)?(small|big)?(integer|auto)\Z", "integer", word)
    return {"char": "text", "slug": "text"}.get(word, word)


def _keys(field: Field[Any, Any]) -> str:
    keys = {
        "PK": field.primary_key,
        "FK": isinstance(field, ForeignKey),
        "UK": field.unique and not field.primary_key,
    }
    return ", ".join(key for key, is_one in keys.items() if is_one)


def _comment(field: Field[Any, Any]) -> str:
    words = {"null": field.null, "generated": field.generated}
    text = ", ".join(word for word, is_so in words.items() if is_so)
    return f'"{text}"' if text else ""
