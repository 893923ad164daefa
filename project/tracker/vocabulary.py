"""The words of the demo's data; each organization has things of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """What an organization works on.

    Args:
        projects (tuple[tuple[str, str], ...]): names and descriptions.
        things (tuple[str, ...]): what its tasks are about.
    """

    projects: tuple[tuple[str, str], ...]
    things: tuple[str, ...]


THEMES = {
    "Acme": Theme(
        projects=(
            ("Rocket skates", "The mail-order classic, with brakes this time."),
            ("Anvil delivery", "Anvils on the doorstep, from above, within the hour."),
            ("Tunnel paint", "Paint that looks like a tunnel until it is one."),
            ("Catalogue", "What customers see before they order."),
        ),
        things=(
            "Rocket skates",
            "Portable hole",
            "Giant magnet",
            "Spring boots",
            "Anvil crate",
            "Tunnel paint",
            "Bird seed",
            "Catapult",
        ),
    ),
    "Globex": Theme(
        projects=(
            ("Turbine hall", "Eight turbines, one control room."),
            ("Grid balance", "Supply meets demand, every second."),
            ("Weather desk", "Wind and sun, six hours ahead."),
            ("Customer portal", "Meters, bills and moving house."),
        ),
        things=(
            "Turbine 3",
            "Cooling loop",
            "Substation North",
            "Wind forecast",
            "Smart meter",
            "Bill preview",
            "Load shedding",
            "Control room",
        ),
    ),
}

FIRST_WORDS = (
    "Amber",
    "Birch",
    "Cobalt",
    "Copper",
    "Granite",
    "Harbor",
    "Indigo",
    "Juniper",
    "Lantern",
    "Maple",
    "North",
    "Quartz",
    "River",
    "Silver",
    "Tidal",
    "Willow",
)
SECOND_WORDS = (
    "Analytics",
    "Bakery",
    "Books",
    "Cycles",
    "Foods",
    "Freight",
    "Gardens",
    "Health",
    "Instruments",
    "Labs",
    "Optics",
    "Press",
    "Robotics",
    "Studios",
    "Textiles",
    "Travel",
)
GENERIC_PROJECTS = (
    ("website", "What the world sees."),
    ("app", "On every phone, and one watch."),
    ("warehouse", "Everything that lies on shelves."),
    ("back office", "Invoices, payroll and patience."),
)

TITLES = (
    "{thing} stops after {number} minutes",
    "{thing}: the manual has chapter {number} twice",
    "{thing} does not start in the cold",
    "{thing}: answer the {number} open complaints",
    "{thing} makes a noise like a kettle",
    "Order {number} spare parts for {thing}",
    "Measure {thing} under load",
    "Write the safety note of {thing}",
    "Let {thing} report its own faults",
    "{thing}: cut the cost by {number} %",
    "Replace the sensor of {thing}",
    "Test {thing} with {number} volunteers",
    "{thing} shows yesterday's numbers",
    "Find out why {thing} was returned",
    "{thing}: plan release {number}",
    "Photograph {thing} for the front page",
)
DESCRIPTIONS = (
    "It happens about once a week, more often on Mondays.",
    "Steps: switch it on, wait, look surprised.",
    "The last attempt is in the comments. It nearly worked.",
    "Agreed in the weekly meeting; the figures follow.",
    "A customer wrote twice. Be kind.",
    "Small, but it blocks the release.",
    "",
)
COMMENTS = (
    "I can reproduce it here.",
    "Done on my side, please look.",
    "Waiting for the supplier, who says Thursday.",
    "Let us not do this before the release.",
    "The new part fits. Trying it over night.",
    "Who wrote the original? I have questions.",
    "Measured twice: the difference is real.",
    "Closing soon unless somebody objects.",
)
LABELS = (
    ("bug", "red"),
    ("customer", "blue"),
    ("documentation", "teal"),
    ("good first task", "green"),
    ("idea", "violet"),
    ("safety", "amber"),
    ("supplier", "grey"),
)
FIRST_NAMES = (
    "Dana",
    "Emil",
    "Farah",
    "Goran",
    "Hana",
    "Ivo",
    "Jun",
    "Kira",
    "Liam",
    "Mina",
    "Noor",
    "Olga",
)
LAST_NAMES = (
    "Arden",
    "Bell",
    "Castro",
    "Duran",
    "Eriksen",
    "Fontaine",
    "Gruber",
    "Hayashi",
    "Ivanova",
    "Jensen",
)

TEAMS = (
    ("Support", "Answers customers, and asks everybody else."),
    ("Engineering", "Builds it, and is woken when it stops."),
    ("Board", "Sees the numbers first."),
)
PURCHASES = (
    ("Training day, on site", 120000),
    ("Import of old tasks", 45000),
    ("Extra storage, 100 GB", 6000),
    ("Printed task board", 8900),
    ("Security review", 99000),
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Mobile Safari/537.36",
)


def theme_of(name: str) -> Theme:
    """Return the theme of an organization, which names no other organization's."""
    if name in THEMES:
        return THEMES[name]
    return Theme(
        projects=tuple(
            (f"{name} {what}", description) for what, description in GENERIC_PROJECTS
        ),
        things=tuple(
            f"{name} {what}"
            for what in ("website", "app", "newsletter", "warehouse", "invoice run")
        ),
    )
