"""Real database servers of one's own: started in an empty folder, heard on loopback only, gone afterwards."""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy

from advisor.errors import StorageError
from advisor.refine.database import require_database

PASSWORD = "p@ss{word}/1"  # every character that needs care in a URL
_DEBIAN = "usr/lib/postgresql/*/bin"  # not on the path there
_READY_S = 60.0


class Server:
    """A server process that can be stopped and started again with its data; ``user`` owns its files."""

    kind: str
    database: str
    programs: tuple[str, ...]

    def __init__(self, folder: Path) -> None:
        self.folder, self.user, self.port = folder, unprivileged_user(), free_port()
        shutil.chown(folder, self.user)
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> list[str]:
        return [name for name in cls.programs if find_program(name) is None]

    def url(self, password: str = PASSWORD) -> str:
        found = sqlalchemy.URL.create(self.kind, "me", password, "127.0.0.1", self.port, self.database)
        return found.render_as_string(hide_password=False)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(self.command(), user=self.user, stdout=log, stderr=log, cwd=self.folder)
        until_s = time.monotonic() + _READY_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def make(self) -> None:
        """Lay out the data: a user ``me`` with the password, and the database."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts the server in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        with contextlib.suppress(StorageError):
            require_database(self.url())
            return True
        return False

    def prepare(self, *command: str, given: str = "") -> None:
        done = subprocess.run(
            command, user=self.user, input=given, text=True, capture_output=True, cwd=self.folder, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


class PostgreSQL(Server):
    kind, database, programs = "postgresql", "postgres", ("initdb", "postgres")

    def make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        self.prepare(
            find_program("initdb"), "-D", str(self.folder / "data"), "--username=me", "--auth=scram-sha-256",
            f"--pwfile={self.folder / 'password'}", "--encoding=UTF8", "--no-sync",
        )  # fmt: skip

    def command(self) -> list[str]:
        return [
            find_program("postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
            *("-h", "127.0.0.1", "-p", str(self.port), "-F"),
        ]  # fmt: skip


class MariaDB(Server):
    kind, database, programs = "mysql", "studies", ("mariadb-install-db", "mariadbd")

    def make(self) -> None:
        data = f"--datadir={self.folder / 'data'}"
        self.prepare(
            find_program("mariadb-install-db"), "--no-defaults", data, "--auth-root-authentication-method=normal",
            "--skip-test-db", f"--user={self.user}",
        )  # fmt: skip
        self.prepare(
            find_program("mariadbd"), "--no-defaults", data, "--bootstrap", "--skip-networking",
            given="CREATE DATABASE studies;\nFLUSH PRIVILEGES;\nCREATE USER me IDENTIFIED BY"
            f" '{PASSWORD}';\nGRANT ALL ON studies.* TO me;\nDROP USER IF EXISTS ''@localhost;\n",
        )  # fmt: skip

    def command(self) -> list[str]:
        return [
            find_program("mariadbd"), "--no-defaults", f"--datadir={self.folder / 'data'}",
            "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
        ]  # fmt: skip


@contextlib.contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """A fresh server; its folder is not pytest's, which others may not enter."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="db-") as folder:
        server = kind(Path(folder))
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()


def find_program(name: str) -> str | None:
    folders = [str(path) for path in sorted(Path("/").glob(_DEBIAN), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders, "/usr/sbin"]))


def unprivileged_user() -> str:
    """This user, or ``nobody`` for root, as whom no database server starts."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else getpass.getuser()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
