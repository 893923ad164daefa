from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tenancy.management.drawing import BEGIN, END

README = Path(__file__).resolve().parents[2] / "README.md"


def draw(*labels: str) -> list[str]:
    """Return the lines that the command prints."""
    output = io.StringIO()
    arguments = ["--apps", *labels] if labels else []
    call_command("draw_schema", *arguments, stdout=output)
    return output.getvalue().strip().splitlines()


def test_readme_shows_the_picture_of_the_models() -> None:
    """The picture in the README is what the command prints."""
    picture = "\n".join(draw())

    assert f"{BEGIN}\n```mermaid\n{picture}\n```\n{END}" in README.read_text(), (
        "The models have changed. Run 'python manage.py draw_schema --write README.md'."
    )


def test_draw_schema_marks_protected_models_and_keys() -> None:
    """An entity says whether it is protected, and which of its fields are keys."""
    lines = [line.strip() for line in draw("notebook")]

    assert lines[0] == "erDiagram"
    assert 'Note["Note (protected)"] {' in lines
    assert "Category {" in lines
    assert "uuid organization_id FK" in lines
    assert "text name UK" in lines
    assert 'datetime written_at "null"' in lines


def test_draw_schema_shows_how_many_rows_relate() -> None:
    """A relation says how many rows are at its ends."""
    lines = [line.strip() for line in draw("notebook")]

    assert 'Folder |o--o{ Folder : "parent"' in lines
    assert 'Note ||--o| Cover : "note"' in lines
    assert 'User }o--o{ Note : "readers"' in lines
    assert 'Note ||--o{ Placing : "note"' in lines
    # The table between is an entity of its own.
    assert not any(line.endswith(': "places"') for line in lines)


def test_draw_schema_tells_apart_models_of_one_name() -> None:
    """Models of the same name in two apps are named with their apps."""
    lines = [line.strip() for line in draw("notebook", "notes")]

    assert 'notebook_Note["notebook_Note (protected)"] {' in lines
    assert 'notes_Note["notes_Note (protected)"] {' in lines


def test_draw_schema_writes_between_the_markers(tmp_path: Path) -> None:
    """With --write, what stands around the picture stays."""
    path = tmp_path / "README.md"
    path.write_text(f"Before\n{BEGIN}\nold\n{END}\nAfter\n")

    call_command("draw_schema", "--apps", "notes", "--write", str(path))

    text = path.read_text()
    picture = "\n".join(draw("notes"))
    assert text == f"Before\n{BEGIN}\n```mermaid\n{picture}\n```\n{END}\nAfter\n"


@pytest.mark.parametrize("text", [None, "no picture", BEGIN, END])
def test_draw_schema_without_markers_is_refused(
    tmp_path: Path, text: str | None
) -> None:
    """A file that has no place for the picture is left as it is."""
    path = tmp_path / "README.md"
    if text is not None:
        path.write_text(text)

    with pytest.raises(CommandError, match="Add them where the picture shall stand"):
        call_command("draw_schema", "--write", str(path))

    assert text is None or path.read_text() == text


def test_draw_schema_of_an_unknown_app_is_refused() -> None:
    """An app that is not installed is named."""
    with pytest.raises(CommandError, match="No installed app with label 'nothing'"):
        draw("nothing")
