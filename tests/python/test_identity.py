"""TLS, passwords, API tokens and JSON web tokens, with pyarrow, ADBC, polars and the command line."""

import base64
import json
import os
import subprocess
import time

import adbc_driver_flightsql.dbapi as dbapi
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import Error as AdbcError
from conftest import Server, binary, run
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PASSWORD = "correct horse"
AUDIENCE, ISSUER = "pintail", "https://issuer"


def encoded(content) -> str:
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Guarded:
    """A server with TLS, an admin `root`, a reader `rita`, and an issuer of JSON web tokens."""

    def __init__(self, folder):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self.key.public_key().public_numbers()
        keys = {"keys": [{"kty": "RSA", "kid": "1", "n": number(public.n), "e": number(public.e)}]}
        (folder / "jwks.json").write_text(json.dumps(keys))
        (folder / "pintail.toml").write_text(
            f"""[auth]
anonymous = "off"
[auth.jwt]
jwks_file = "jwks.json"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
algorithms = ["RS256"]
"""
        )
        for name, role in [("root", "admin"), ("rita", "reader")]:
            run(
                *("user", "add", name, "--role", role, "--database", "pintail.duckdb"),
                cwd=folder,
                env={"PINTAIL_NEW_PASSWORD": PASSWORD},
            )
        self.folder = folder
        self.server = Server(folder, "--config", "pintail.toml", "--tls-self-signed")
        self.uri = self.server.uri
        self.certificate = folder / "pintail.duckdb.tls-cert.pem"
        self.trusted = self.certificate.read_text()

    def client(self) -> flight.FlightClient:
        return flight.FlightClient(self.uri, tls_root_certs=self.trusted.encode())

    def fetch(self, *headers) -> list:
        options = flight.FlightCallOptions(headers=list(headers))
        return self.client().do_get(flight.Ticket(b"SELECT 42 AS n"), options).read_all().to_pylist()

    def connect(self, **options) -> dbapi.Connection:
        options = {DatabaseOptions.TLS_ROOT_CERTS.value: self.trusted, **options}
        return dbapi.connect(self.uri, options, autocommit=True)

    def environment(self, **more) -> dict:
        return {"PINTAIL_SERVER": self.uri, "PINTAIL_TLS_CA": str(self.certificate), "HOME": str(self.folder), **more}

    def token(self, name="nightly", user="rita", *flags) -> str:
        done = run(
            *("token", "add", name, "--for", user, *flags),
            env=self.environment(PINTAIL_USER="root", PINTAIL_PASSWORD=PASSWORD),
        )
        return done.stdout.strip()

    def web_token(self, algorithm="RS256", **changes) -> str:
        claims = {"sub": "joe", "iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "role": "reader", **changes}
        message = f"{encoded({'alg': algorithm, 'kid': '1'})}.{encoded(claims)}"
        signature = self.key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{message}.{encoded(signature)}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    yield guarded
    assert guarded.server.stop() == 0


def ask(connection: dbapi.Connection) -> list:
    with connection, connection.cursor() as cursor:
        return cursor.execute("SELECT 42").fetchall()


def bearer(token: str):
    return (b"authorization", f"Bearer {token}".encode())


def test_pyarrow_logs_in_and_keeps_its_token(guarded):
    client = guarded.client()
    for padding_ in ("rita", "root"):
        header = client.authenticate_basic_token(padding_, PASSWORD)
        assert header[0] == b"authorization" and header[1].startswith(b"Bearer pintail-")
        assert guarded.fetch(header) == [{"n": 42}]
    basic = base64.b64encode(f"rita:{PASSWORD}".encode())
    for form in (basic, basic.rstrip(b"=")):
        assert guarded.fetch((b"authorization", b"Basic " + form)) == [{"n": 42}], "on any call, padding or not"


def test_pyarrow_is_refused_with_anything_else(guarded):
    for wrong in ("wrong", "", PASSWORD + " "):
        with pytest.raises(flight.FlightUnauthenticatedError, match="wrong user name or password"):
            guarded.client().authenticate_basic_token("rita", wrong)
    for headers in ([], [bearer("ptk_made_up")], [bearer("pintail-" + "0" * 32)], [bearer("x")]):
        with pytest.raises(flight.FlightUnauthenticatedError):
            guarded.fetch(*headers)
    with pytest.raises(pa.ArrowInvalid, match="header authorization"):
        guarded.fetch((b"authorization", b"Digest x"))


def test_a_client_that_trusts_nobody_gets_no_connection(guarded):
    with pytest.raises((flight.FlightUnavailableError, flight.FlightError)):
        flight.FlightClient(guarded.uri).authenticate_basic_token("rita", PASSWORD)
    with pytest.raises((flight.FlightUnavailableError, flight.FlightError)):
        flight.FlightClient(guarded.uri.replace("grpc+tls", "grpc+tcp")).authenticate_basic_token("rita", PASSWORD)


def test_adbc_comes_with_password_token_or_web_token(guarded):
    header = DatabaseOptions.AUTHORIZATION_HEADER.value
    assert ask(guarded.connect(username="rita", password=PASSWORD)) == [(42,)]
    assert ask(guarded.connect(**{header: f"Bearer {guarded.token('adbc')}"})) == [(42,)]
    assert ask(guarded.connect(**{header: f"Bearer {guarded.web_token()}"})) == [(42,)]
    for options in [
        {},
        {"username": "rita", "password": "wrong"},
        {header: "Bearer ptk_made_up"},
        {header: f"Bearer {guarded.web_token(aud='other')}"},
    ]:
        with pytest.raises(AdbcError, match="(?i)unauthenticated"):
            ask(guarded.connect(**options))


def test_polars_reads_over_tls(guarded):
    import polars

    with guarded.connect(username="rita", password=PASSWORD) as connection:
        assert polars.read_database("SELECT 42 AS n", connection).to_dicts() == [{"n": 42}]


def test_web_tokens_need_every_claim_and_the_right_signature(guarded):
    assert guarded.fetch(bearer(guarded.web_token())) == [{"n": 42}]
    for token, part in [
        (guarded.web_token(exp=1), "expired"),
        (guarded.web_token(iss="https://other"), "issuer"),
        (guarded.web_token(aud="other"), "audience"),
        (guarded.web_token(role="king"), "role"),
        (guarded.web_token(algorithm="HS256"), "no key fits"),
        (guarded.web_token(algorithm="none"), "cannot be read"),
        (guarded.web_token()[:-8] + "AAAAAAAA", "signature"),
    ]:
        with pytest.raises(flight.FlightUnauthenticatedError, match=part):
            guarded.fetch(bearer(token))


def test_new_keys_are_taken_while_the_server_runs(tmp_path):
    guarded = Guarded(tmp_path)
    old = guarded.web_token()
    assert guarded.fetch(bearer(old))
    guarded.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = guarded.key.public_key().public_numbers()
    keys = {"keys": [{"kty": "RSA", "kid": "1", "n": number(public.n), "e": number(public.e)}]}
    (tmp_path / "jwks.json").write_text("half a")
    (tmp_path / "jwks.json").write_text(json.dumps(keys))
    deadline = time.monotonic() + 30
    while True:
        try:
            assert guarded.fetch(bearer(guarded.web_token()))
            break
        except flight.FlightUnauthenticatedError:
            assert time.monotonic() < deadline, "the new keys are not in force"
            time.sleep(0.1)
    with pytest.raises(flight.FlightUnauthenticatedError, match="signature"):
        guarded.fetch(bearer(old))
    guarded.server.stop()


def test_tokens_are_listed_and_revoked_by_name(guarded):
    environment = guarded.environment(PINTAIL_USER="root", PINTAIL_PASSWORD=PASSWORD)
    token = guarded.token("cron", "rita", "--table", "lab.*", "--expires", "1h")
    assert guarded.fetch(bearer(token)) == [{"n": 42}]
    listed = run("token", "list", env=environment).stdout
    assert "cron" in listed and "lab.*" in listed and token not in listed
    run("token", "revoke", "cron", env=environment)
    with pytest.raises(flight.FlightUnauthenticatedError, match="revoked"):
        guarded.fetch(bearer(token))
    assert run("token", "revoke", "cron", env=environment, check=False).returncode == 1


def test_users_are_managed_by_the_command_line(guarded):
    environment = guarded.environment(PINTAIL_USER="root", PINTAIL_PASSWORD=PASSWORD)
    new = {**environment, "PINTAIL_NEW_PASSWORD": "battery staple"}
    assert run("user", "add", "bob", "--role", "writer", env=new).stdout == "added user bob (writer)\n"
    own = guarded.environment(PINTAIL_USER="bob", PINTAIL_PASSWORD="battery staple")
    assert run("query", "SELECT 1 AS n", "--format", "csv", env=own).stdout == "n\n1\n"
    refused = run("user", "list", env=own, check=False)
    assert refused.returncode == 1 and "is for admins" in refused.stderr
    run("user", "role", "bob", "reader", env=environment)
    listed = run("user", "list", env=environment).stdout.splitlines()
    assert ["bob", "reader", "password", "database"] in [line.split() for line in listed]
    changed = {**own, "PINTAIL_NEW_PASSWORD": "another secret"}
    run("user", "passwd", "bob", env=changed)
    assert run("query", "SELECT 1", env=own, check=False).returncode == 1
    run("user", "remove", "bob", env=environment)
    own["PINTAIL_PASSWORD"] = "another secret"
    refused = run("query", "SELECT 1", env=own, check=False)
    assert refused.returncode == 1 and "wrong user name or password" in refused.stderr
    short = run("user", "add", "eve", env={**environment, "PINTAIL_NEW_PASSWORD": "short"}, check=False)
    assert short.returncode == 2 and "8 to 1024 bytes" in short.stderr


def test_secrets_are_not_in_the_list_of_processes(guarded):
    """Nor in the log of the server."""
    arguments = ["query", "SELECT count(*) FROM range(3000000000) a", "--user", "root", "--password", PASSWORD]
    with subprocess.Popen([binary(), *arguments], env={**os.environ, **guarded.environment()}, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 10
        shown = ""
        while "--user" not in shown or PASSWORD in shown:
            assert time.monotonic() < deadline, shown
            shown = open(f"/proc/{process.pid}/cmdline").read()
        assert "SELECT count" in shown
        process.kill()
    token = guarded.token("seen")
    guarded.fetch(bearer(token))
    log = "".join(guarded.server.log)
    assert PASSWORD not in log and token not in log and "argon2" not in log


def test_a_profile_spares_the_flags_and_keeps_its_secrets(guarded, tmp_path):
    folder = tmp_path / ".config" / "pintail"
    folder.mkdir(parents=True)
    file = folder / "profiles.toml"
    file.write_text(
        f"""[default]
server = "{guarded.uri}"
user = "rita"
password = "{PASSWORD}"
tls_ca = "{guarded.certificate}"
"""
    )
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    file.chmod(0o644)
    readable = run("query", "SELECT 1", env=environment, check=False)
    assert readable.returncode == 2 and "chmod 600" in readable.stderr and PASSWORD not in readable.stderr
    file.chmod(0o600)
    assert run("query", "SELECT 1 AS n", "--format", "csv", env=environment).stdout == "n\n1\n"
    assert run("profile", env=environment).stdout == f"default  {guarded.uri} as rita\n"
    missing = run("query", "SELECT 1", "--profile", "prod", env=environment, check=False)
    assert missing.returncode == 2 and "no profile" in missing.stderr


def test_credentials_are_not_sent_in_plain_text_to_another_machine():
    done = run("query", "SELECT 1", "--server", "grpc://192.0.2.1:8815", "--token", "ptk_x", check=False)
    assert done.returncode == 1 and "not encrypted" in done.stderr and "ptk_x" not in done.stderr


def test_beyond_loopback_needs_tls_and_users(tmp_path):
    def serve(*flags, **env):
        return run("serve", "--listen", "0.0.0.0:0", "--http", "127.0.0.1:0", *flags, cwd=tmp_path, env=env, check=False)

    for flags, env in [
        ([], {}),
        (["--tls-self-signed"], {"PINTAIL_AUTH__ANONYMOUS": "reader"}),
        ([], {"PINTAIL_AUTH__ANONYMOUS": "off"}),
    ]:
        refused = serve(*flags, **env)
        assert refused.returncode == 2 and "refusing to listen beyond loopback" in refused.stderr, (flags, env)
    server = Server(tmp_path, "--tls-self-signed", listen="0.0.0.0:0")
    assert server.uri.startswith("grpc+tls://0.0.0.0:")
    server.stop()
    assert any("nobody can log in" in line for line in server.log)


def test_secrets_are_masked_where_the_configuration_is_shown(tmp_path):
    hashed = run("user", "hash", env={"PINTAIL_NEW_PASSWORD": PASSWORD}).stdout.strip()
    (tmp_path / "pintail.toml").write_text(f'[[auth.users]]\nname = "ada"\nrole = "reader"\npassword_hash = "{hashed}"\n')
    shown = run("config", "print", "--config", "pintail.toml", cwd=tmp_path).stdout
    assert 'name = "ada"' in shown and hashed not in shown and 'password_hash = "********"' in shown
    (tmp_path / "pintail.toml").write_text(f'[[auth.users]]\nname = "ada"\nrole = "king"\npassword_hash = "{PASSWORD}"\n')
    wrong = run("config", "check", "--config", "pintail.toml", cwd=tmp_path, check=False)
    assert wrong.returncode == 2 and PASSWORD not in wrong.stderr
