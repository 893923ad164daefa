from __future__ import annotations

from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenancy.management import drawing


class Command(BaseCommand):
    """Draw the models of apps as a Mermaid diagram."""

    help = (
        "Prints the models of the given apps as a Mermaid entity-relationship diagram, "
        "or writes it into a Markdown file between two markers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --apps and --write."""
        parser.add_argument(
            "--apps",
            nargs="+",
            metavar="LABEL",
            default=["tenancy"],
            help='The labels of the apps. Defaults to "tenancy".',
        )
        parser.add_argument(
            "--write",
            metavar="FILE",
            type=Path,
            help=f"The file that has the lines {drawing.BEGIN} and {drawing.END}.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the picture, or write it.

        Raises:
            CommandError: an app is not installed, or the file has no markers.
        """
        try:
            configs = [apps.get_app_config(label) for label in options["apps"]]
        except LookupError as error:
            raise CommandError(str(error)) from error
        picture = drawing.draw(configs)
        path: Path | None = options["write"]
        if path is None:
            self.stdout.write(picture)
            return
        text = drawing.place(picture, path.read_text()) if path.is_file() else None
        if text is None:
            raise CommandError(
                f"'{path}' is no file with the lines '{drawing.BEGIN}' and "
                f"'{drawing.END}'. Add them where the picture shall stand."
            )
        path.write_text(text)
