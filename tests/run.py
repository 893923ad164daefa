"""Set up and run the tests, the linters, the benchmarks or the demo.

    python3 -m tests.run test [--lane 6.1] [--database sqlite] [-- PYTEST ARGUMENTS]
    python3 -m tests.run lint | bench | demo

Only a Python and its standard library are needed: virtual environments, programs and
database servers are obtained on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests import servers
from tests.servers import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"
REPORTS = ROOT / ".reports"
RUN_SECONDS = 40 * 60

# Reasons for which a test may be skipped although TENANCY_REQUIRE is set: what it
# tests is impossible there.
ALLOWED_SKIPS = (
    r"^The database (does not|cannot|has no) ",
    r"^Django \d\.\d (does not|cannot|has no) ",
    r"^Python \d\.\d+ (does not|cannot|has no) ",
)

# Why tests may be left out on every database: a browser may merely be missing.
ALLOWED_EVERYWHERE = r"^The machine has no "


@dataclass(frozen=True, eq=False)
class Lane:
    """One Django on one Python, and the server for each database it is tested on."""

    python: str
    django: str
    requirement: str
    servers: dict[str, str]

    @property
    def title(self) -> str:
        return f"Django {self.django} on Python {self.python}"

    @property
    def slug(self) -> str:
        return f"django-{self.django}-python-{self.python}"


LANES = (
    Lane(
        python="3.11",
        django="5.2",
        requirement="Django~=5.2.19",
        servers={"sqlite": "", "postgresql": "postgresql-15", "mariadb": "mariadb"},
    ),
    Lane(
        python="3.13",
        django="6.1",
        requirement="Django~=6.1.3",
        servers={"sqlite": "", "postgresql": "postgresql-18", "mysql": "mysql"},
    ),
)
AXE = "axe-core@~4.14.0"
"""The package of npm that finds what keeps people from using a page."""

SPEEDS = ("mariadb", "mysql", "postgresql", "sqlite")
"""The databases, the slowest of which comes first."""

DATABASES = {
    "sqlite": "SQLite",
    "postgresql": "PostgreSQL",
    "mariadb": "MariaDB",
    "mysql": "MySQL",
}


@dataclass
class Result:
    """What came of one lane on one database."""

    lane: Lane
    database: str
    title: str
    passed: int = 0
    failed: int = 0
    skip_reasons: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    """How many tests are none of this database, by the reason."""
    not_run: str = ""

    def __str__(self) -> str:
        total = self.passed + self.failed + len(self.skip_reasons)
        if self.not_run:
            outcome = f"NOT RUN: {self.not_run}"
        elif self.failed:
            outcome = f"FAILED {self.failed} of {total}"
        else:
            outcome = f"{self.passed} passed"
            if self.skip_reasons:
                outcome += f", {len(self.skip_reasons)} skipped"
            if self.left_out:
                outcome += f", {sum(self.left_out.values())} left out"
        return f"{self.lane.title} · {self.title}: {outcome}"


# Environments


def find_python(version: str) -> str:
    """Return a Python of a version: of the PATH, or pyenv's.

    Raises:
        Unavailable: there is none.
    """
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [
        sys.executable,
        shutil.which(name),
        *sorted(map(str, pyenv.glob(f"{version}.*/bin/{name}")), reverse=True),
    ]
    check = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for candidate in filter(None, candidates):
        # A shim of pyenv is found but fails when its version is not switched on.
        if is_success([candidate, "-c", check]):
            return candidate
    raise Unavailable(f"Python {version} is not found.")


def make_environment(
    name: str, *, python: str, extras: set[str], requirement: str = ""
) -> Path:
    """Return the programs of a virtual environment, made or brought up to date.

    Nothing is done when it was made from the same pyproject.toml, Python and extras.

    Raises:
        Unavailable: it could not be made.
    """
    folder = ENVIRONMENTS / name
    programs = folder / "bin"
    project = f"{ROOT}[{','.join(sorted(extras))}]"
    source = (ROOT / "pyproject.toml").read_text()
    content = "\n".join([source, python, project, requirement])
    digest = hashlib.sha256(content.encode()).hexdigest()
    mark = folder / "made-from"
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text() == digest:
            return programs
        say(f"Making the environment .venvs/{name} ...")
        if not is_success([python, "-c", "import ensurepip"]):
            servers.install_packages(f"python{read_version(python)}-venv")
        if not is_success([str(programs / "python"), "-c", ""]):
            servers.run([python, "-m", "venv", "--clear", str(folder)])
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
        servers.run([*pip, "--editable", project, *filter(None, [requirement])])
        mark.write_text(digest)
    return programs


def make_lane_environment(lane: Lane) -> Path:
    """Return the programs of a lane, with MySQL's driver where it can be compiled."""
    extras = {"dev"}
    with contextlib.suppress(Unavailable):
        install_mysql_client()
        extras.add("mysql")
    return make_environment(
        lane.slug,
        python=find_python(lane.python),
        extras=extras,
        requirement=lane.requirement,
    )


def prepare_lane(lane: Lane) -> Path:
    """Return the programs of a lane, with what tests need that no package index has.

    That is Django's tests of sessions, and axe-core. Where these cannot be had, the
    tests that need them say so.
    """
    programs = make_lane_environment(lane)
    with contextlib.suppress(Unavailable):
        fetch_django_tests(programs)
    with contextlib.suppress(Unavailable):
        fetch_axe()
    return programs


def find_django_tests(programs: Path) -> Path:
    """Return the folder of the tests of the Django that a lane has installed."""
    code = "import django; print(django.__version__)"
    version = servers.run([str(programs / "python"), "-c", code]).strip()
    return ENVIRONMENTS / f"django-tests-{version}"


def fetch_django_tests(programs: Path) -> None:
    """Unpack Django's tests of sessions, which only its source distribution has.

    Raises:
        Unavailable: the package index does not give it.
    """
    folder = find_django_tests(programs)
    version = folder.name.rpartition("-")[2]
    pip = [str(programs / "python"), "-m", "pip", "download", "--quiet", "--no-deps"]
    with (
        (ENVIRONMENTS / f"{folder.name}.lock").open("w") as lock,
        tempfile.TemporaryDirectory(dir=ENVIRONMENTS) as name,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        say(f"Fetching Django {version}'s own tests ...")
        place = Path(name)
        # Only its metadata are built.
        servers.run([*pip, "--no-binary=:all:", f"--dest={name}", f"Django=={version}"])
        (source,) = place.glob("*.tar.gz")
        with tarfile.open(source) as archive:
            members = [
                member
                for member in archive.getmembers()
                if "/tests/sessions_tests/" in member.name
            ]
            archive.extractall(place, members, filter="data")
        (tests,) = place.glob("*/tests")
        # At once, so that a run that is stopped leaves no part of it.
        tests.rename(folder)


def find_axe() -> Path:
    """Return where axe-core is, or would be."""
    return ENVIRONMENTS / AXE.replace("@~", "-") / "axe.min.js"


def fetch_axe() -> None:
    """Unpack axe-core, which npm has, where there is a browser to run it.

    Raises:
        Unavailable: there is no npm, or it does not give it.
    """
    file = find_axe()
    if file.exists() or not shutil.which("chromedriver"):
        return
    if not shutil.which("npm"):
        raise Unavailable("axe-core is a package of npm, and npm is missing.")
    with (
        (ENVIRONMENTS / "axe-core.lock").open("w") as lock,
        tempfile.TemporaryDirectory(dir=ENVIRONMENTS) as name,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return
        say(f"Fetching {AXE} ...")
        servers.run(["npm", "pack", "--silent", f"--pack-destination={name}", AXE])
        (package,) = Path(name).glob("*.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/axe.min.js", name, filter="data")
        file.parent.mkdir(exist_ok=True)
        # At once, so that a run that is stopped leaves no part of it.
        Path(name, "package", "axe.min.js").rename(file)


def install_browser() -> None:
    """Install Chromium, and what fetches axe-core, unless they are there.

    Raises:
        Unavailable: they are not there and cannot be installed.
    """
    packages = {"chromium": "chromium", "chromedriver": "chromium-driver", "npm": "npm"}
    missing = [packages[name] for name in packages if not shutil.which(name)]
    if missing:
        say(f"Installing {', '.join(missing)} ...")
        servers.install_packages(*missing)


def install_mysql_client() -> None:
    """Install what mysqlclient is compiled with, unless it is there.

    Raises:
        Unavailable: it is not there and cannot be installed.
    """
    for name in ("libmariadb", "mariadb", "mysqlclient"):
        if is_success(["pkg-config", "--exists", name]):
            return
    servers.install_packages("libmariadb-dev", "pkg-config", "gcc", "python3-dev")


def read_version(python: str) -> str:
    """Return a Python's version as in its name, such as 3.11."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return servers.run([python, "-c", code]).strip()


def is_success(command: list[str]) -> bool:
    """Return whether a command can be run and succeeds."""
    try:
        return not subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True
        ).returncode
    except OSError:
        return False


# Tests


class TestRun:
    """One run of the tests on the lanes and databases that were chosen."""

    def __init__(
        self,
        *,
        lanes: list[Lane],
        databases: list[str],
        arguments: list[str],
        jobs: int,
        is_measured: bool,
    ) -> None:
        self.combinations = [
            (lane, database)
            for lane in lanes
            for database in lane.servers
            if database in databases
        ]
        # The slowest first, so that none is left to run alone.
        self.combinations.sort(key=lambda one: SPEEDS.index(one[1]))
        self.arguments = arguments
        self.jobs = jobs
        self.is_measured = is_measured
        self.children: set[subprocess.Popen[bytes]] = set()
        self.is_stopping = threading.Event()

    def run(self) -> int:
        """Run everything, print the outcome and return the exit code."""
        shutil.rmtree(REPORTS, ignore_errors=True)
        (REPORTS / "coverage").mkdir(parents=True)
        own = {
            lane.servers[database]
            for lane, database in self.combinations
            if database != "sqlite" and not get_own_url(database)
        }
        with ThreadPoolExecutor(max_workers=2) as pool:
            lanes = dict.fromkeys(lane for lane, _ in self.combinations)
            environments = {
                lane.slug: pool.submit(prepare_lane, lane) for lane in lanes
            }
            if own:
                say(f"Starting {', '.join(sorted(own))} ...")
            with servers.Servers(sorted(own)) if own else no_servers() as running:
                results = self.run_all(environments, running)
        if self.is_measured:
            self.report_coverage(environments)
        return report(results)

    def run_all(
        self, environments: dict[str, Future[Path]], running: servers.Servers
    ) -> list[Result]:
        """Run the combinations, several at a time, and return what came of each."""
        with ThreadPoolExecutor(max_workers=self.jobs) as pool:
            futures = [
                pool.submit(self.run_one, lane, database, environments, running)
                for lane, database in self.combinations
            ]
            try:
                return [future.result() for future in futures]
            except BaseException:
                self.is_stopping.set()
                for child in list(self.children):
                    child.send_signal(signal.SIGINT)
                raise

    def run_one(
        self,
        lane: Lane,
        database: str,
        environments: dict[str, Future[Path]],
        running: servers.Servers,
    ) -> Result:
        """Run pytest for one lane on one database."""
        result = Result(lane, database, DATABASES[database])
        try:
            programs = environments[lane.slug].result()
            urls = find_urls(lane, database, running)
            if database in ("mariadb", "mysql") and not is_success(
                [str(programs / "python"), "-c", "import MySQLdb"]
            ):
                raise Unavailable(
                    "mysqlclient is not installed, "
                    "since libmariadb-dev and pkg-config are missing."
                )
        except Unavailable as error:
            result.not_run = " ".join(str(error).split())
            say(str(result))
            return result
        name = f"{lane.slug}-{database}"
        output, junit = REPORTS / f"{name}.txt", REPORTS / f"{name}.xml"
        command = [str(programs / "python"), "-m"]
        if self.is_measured:
            # Measured from without, so that what plugins import is counted as well.
            command += ["coverage", "run", "-m"]
        command += ["pytest", f"--junit-xml={junit}"]
        command += ["-o", f"cache_dir={REPORTS / 'cache' / name}"]
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("TENANCY_TEST_")
            and key not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
        }
        environment |= urls
        environment["TENANCY_TEST_DATABASE"] = database
        environment["TENANCY_TEST_DJANGO_TESTS"] = str(find_django_tests(programs))
        environment["COVERAGE_FILE"] = str(REPORTS / "coverage" / name)
        started = time.monotonic()
        code = self.run_child([*command, *self.arguments], environment, output)
        if self.is_stopping.is_set():
            return result
        read_junit(junit, result)
        text = output.read_text(errors="replace")
        if header := re.search(r"^database: ([^,\n]+),", text, re.MULTILINE):
            result.title = header[1]
        for count, reason in re.findall(r"^left out: (\d+): (.+)$", text, re.MULTILINE):
            result.left_out[reason] = int(count)
        if code and not result.failed:
            result.failed = 1
            text += f"\npytest ended with exit code {code}.\n"
        say(f"{result}  ({time.monotonic() - started:.0f} s)")
        if result.failed:
            tail = "\n".join(text.splitlines()[-60:])
            say(f"--- the end of {output.relative_to(ROOT)}:\n{tail}\n---")
        return result

    def run_child(
        self, command: list[str], environment: dict[str, str], output: Path
    ) -> int:
        """Run a command with its output in a file; return its exit code."""
        if self.is_stopping.is_set():
            return -1
        with output.open("wb") as file:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # A Ctrl-C reaches it by us, once: a second would cut short its end.
                start_new_session=True,
            )
            self.children.add(child)
            try:
                return child.wait(timeout=RUN_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                file.write(f"\nStopped after {RUN_SECONDS} seconds.\n".encode())
                return child.wait()
            finally:
                self.children.discard(child)

    def report_coverage(self, environments: dict[str, Future[Path]]) -> None:
        """Print what all combinations together covered."""
        data = list((REPORTS / "coverage").iterdir())
        programs = [
            future.result()
            for future in environments.values()
            if not future.exception()
        ]
        if not data or not programs:
            return
        environment = {
            **os.environ,
            "COVERAGE_FILE": str(REPORTS / "coverage.combined"),
        }
        coverage = str(programs[-1] / "coverage")
        for command in (["combine", "--quiet", "--keep", *map(str, data)], ["report"]):
            subprocess.run([coverage, *command], cwd=ROOT, env=environment, check=False)


def get_own_url(database: str) -> str | None:
    """Return the URL that the environment names instead of a server of ours."""
    return os.environ.get(f"TENANCY_TEST_{database.upper()}_URL")


def find_urls(lane: Lane, database: str, running: servers.Servers) -> dict[str, str]:
    """Return the variables that tell the tests of a lane where their server is.

    Raises:
        Unavailable: the server could not be started.
    """
    if database == "sqlite":
        return {}
    if url := get_own_url(database):
        urls = {
            key: value
            for key, value in os.environ.items()
            if key.startswith(("TENANCY_TEST_POSTGRESQL_", "TENANCY_TEST_PGBOUNCER_"))
            and database == "postgresql"
        }
        # Lanes that share a server must not share a database.
        parts = urlsplit(url)
        path = f"{parts.path}_{lane.django.replace('.', '')}"
        return urls | {"TENANCY_TEST_DATABASE_URL": parts._replace(path=path).geturl()}
    name = lane.servers[database]
    if name in running.errors:
        raise Unavailable(running.errors[name])
    urls = running.urls[name]
    own = urls[f"TENANCY_TEST_{database.upper()}_URL"]
    return urls | {"TENANCY_TEST_DATABASE_URL": own}


@contextlib.contextmanager
def no_servers() -> Iterator[servers.Servers]:
    """Give servers of which there are none."""
    yield servers.Servers([])


def read_junit(path: Path, result: Result) -> None:
    """Add the tests of a report by pytest to a result.

    A test whose body and clean-up both fail stands there twice.
    """
    if not path.exists():
        return
    outcomes: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = (case.get("classname", ""), case.get("name", ""))
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes[name] = "failed"
        elif skipped is not None:
            outcomes.setdefault(name, f"skipped {skipped.get('message', '')}")
        else:
            outcomes.setdefault(name, "passed")
    values = list(outcomes.values())
    result.passed = values.count("passed")
    result.failed = values.count("failed")
    result.skip_reasons = tuple(
        value.partition(" ")[2] for value in values if value.startswith("skipped")
    )


def report(results: list[Result]) -> int:
    """Print the closing lines; return 1 when something failed or is missing."""
    required = {
        name for name in os.environ.get("TENANCY_REQUIRE", "").split(",") if name
    }
    is_wrong = not any(result.passed for result in results)
    print()
    for name in sorted(required - set(DATABASES)):
        is_wrong = True
        print(f"FAILED: TENANCY_REQUIRE names {name!r}, which is no database.")
    for result in results:
        is_wrong |= bool(result.failed)
        is_wrong |= bool(result.not_run) and result.database in required
        if required:
            for reason in sorted(set(result.skip_reasons)):
                if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
                    is_wrong = True
                    print(f"FAILED: skipped for a reason not allowed: {reason}")
    ran = [result for result in results if not result.not_run]
    for reason in sorted({one for result in ran for one in result.left_out}):
        places = [result.title for result in ran if reason in result.left_out]
        print(f"Left out on {', '.join(dict.fromkeys(places))}: {reason}")
        if (
            required == set(DATABASES)
            and len(places) == len(ran)
            and not re.search(ALLOWED_EVERYWHERE, reason)
        ):
            is_wrong = True
            print("FAILED: no database of this run has that.")
    for result in results:
        print(result)
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(len(result.skip_reasons) for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(is_wrong)


def choose_jobs() -> int:
    """Return how many combinations run at a time on this machine."""
    gibibytes = 2.0
    with contextlib.suppress(OSError, ValueError):
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        gibibytes = pages / 2**30
    # One more than there are processors: each waits for its server now and then.
    return max(1, min((os.cpu_count() or 1) + 1, int(gibibytes / 1.5), 6))


def test(arguments: list[str]) -> int:
    """Run the tests as the command line says."""
    own, _, passed_on = partition(arguments, "--")
    parser = argparse.ArgumentParser(prog="tests.run test")
    parser.add_argument("--lane", action="append", choices=[x.django for x in LANES])
    parser.add_argument("--database", action="append", choices=list(DATABASES))
    parser.add_argument("--jobs", type=int, default=choose_jobs())
    parser.add_argument("--coverage", action="store_true", help="takes twice as long")
    parser.add_argument(
        "--browser", action="store_true", help="install Chromium for its tests"
    )
    options = parser.parse_args(own)
    if options.browser:
        try:
            install_browser()
        except Unavailable as error:
            # The closing lines tell of the tests that are left out for it.
            say(str(error))
    return TestRun(
        lanes=[x for x in LANES if not options.lane or x.django in options.lane],
        databases=options.database or list(DATABASES),
        arguments=passed_on,
        jobs=options.jobs,
        is_measured=options.coverage,
    ).run()


# The other commands


def lint(arguments: list[str]) -> int:
    """Run every linter, even after one has found something."""
    programs = make_lane_environment(LANES[-1])
    templates = [
        folder for folder in ("tenancy", "project") if any(Path(folder).rglob("*.html"))
    ]
    commands = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        *(["djlint", mode, *templates] for mode in ("--check", "--lint") if templates),
        ["python", "manage.py", "makemigrations", "--check", "--dry-run"],
    ]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/lint.sqlite3"
        environment = {**os.environ, "DATABASE_URL": url}
        for name, *rest in commands:
            say(f"$ {shlex.join([name, *rest])}")
            command = [str(programs / name), *rest]
            if subprocess.run(
                command, cwd=ROOT, env=environment, check=False
            ).returncode:
                failed.append(shlex.join([name, *rest]))
    for command_line in failed:
        print(f"FAILED: {command_line}")
    print("lint: " + (f"{len(failed)} failed" if failed else "all is well"), flush=True)
    return int(bool(failed))


def bench(arguments: list[str]) -> int:
    """Run the benchmarks: on SQLite, and a throw-away PostgreSQL or the own one."""
    lane = LANES[-1]
    programs = make_lane_environment(lane)
    own = [] if get_own_url("postgresql") else [lane.servers["postgresql"]]
    with servers.Servers(own) if own else no_servers() as running:
        for error in running.errors.values():
            raise Unavailable(error)
        urls = running.urls[own[0]] if own else dict(os.environ)
        url = urls["TENANCY_TEST_POSTGRESQL_URL"]
        environment = {**os.environ, **urls, "TENANCY_TEST_DATABASE_URL": url}
        environment["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        module = "tests.benchmarks"
        if arguments[:1] == ["policies"]:
            module, arguments = "tests.benchmarks.policies", arguments[1:]
        command = [str(programs / "python"), "-m", module, *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=False
        ).returncode


def demo(arguments: list[str]) -> int:
    """Set up the demo site, fill it unless it is filled, and serve it."""
    extras = {"demo"}
    scheme = os.environ.get("DATABASE_URL", "").partition(":")[0]
    if scheme.startswith(("postgres", "pgsql", "postgis")):
        extras.add("postgresql")
    elif scheme.startswith("mysql"):
        extras.add("mysql")
        install_mysql_client()
    programs = make_environment("demo", python=sys.executable, extras=extras)
    manage = [str(programs / "python"), "manage.py"]
    port = os.environ.get("PORT") or "8000"
    # Data that end today, so that sessions, periods and invitations are current.
    today = datetime.now(UTC).date()
    seed = "seed_demo --organizations 2 --tasks 500 --seed 1 --if-empty"
    for command in (
        ["migrate", "--verbosity=0"],
        [*shlex.split(seed), f"--today={today}"],
    ):
        if code := subprocess.run(
            [*manage, *command], cwd=ROOT, check=False
        ).returncode:
            return code
    say(f"\nThe demo is at http://127.0.0.1:{port}/ (Ctrl-C stops it).\n")
    command = [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    """Print at once, also when the output is a file."""
    print(text, flush=True)


def partition(arguments: list[str], mark: str) -> tuple[list[str], str, list[str]]:
    """Split a list as ``str.partition`` splits a string."""
    if mark not in arguments:
        return arguments, "", []
    index = arguments.index(mark)
    return arguments[:index], mark, arguments[index + 1 :]


def main() -> int:
    """Carry out the command line and return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036  # An older one may be tried.
        print("Python 3.11 or later is needed: name one, as in PYTHON=python3.13.")
        return 1
    commands = {"test": test, "lint": lint, "bench": bench, "demo": demo}
    name, *arguments = sys.argv[1:] or ["test"]
    if name not in commands:
        print(__doc__)
        return 2

    def leave(*arguments: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    try:
        return commands[name](arguments)
    except Unavailable as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
