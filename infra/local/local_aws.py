"""The local AWS: MiniStack, and what it lacks for the guardrail. Started by start.py.

Every patch says what AWS does and what MiniStack does instead. `hooks.patch` refuses to start
when a function that a patch replaces is not the one that the patch was written for.
"""

import argparse
import asyncio
import datetime
import fcntl
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import IO

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

REGION = "eu-west-2"
# Settings of the caller's that MiniStack, or a function that inherits them, would take for its own.
FOREIGN_SETTINGS = ("AWS_", "LAMBDA_", "LOCALSTACK_", "MINISTACK_", "S3_")


def main() -> None:
    options = parse_arguments()
    data = Path(options.data).resolve()
    # First of all: whoever started us may end while we wait for another one below.
    if options.exit_with_parent:
        exit_with_parent()
    # Bound before MiniStack is told of them: nobody else can take a free port in between.
    http, https = listen(options.http), listen(options.https)
    _lock = take(data)
    certificate, key = tls_material(data)
    set_environment(options, data, port_of(http), port_of(https), certificate, key)
    log_to(data / "log")
    asyncio.run(serve(options, http, https, certificate, key))


def parse_arguments() -> argparse.Namespace:
    default_data = Path(__file__).resolve().parent.parent.parent / "target" / "local-aws" / "data"
    parser = argparse.ArgumentParser(description="A local AWS on loopback, with IAM enforced.")
    parser.add_argument("--http", type=int, default=4610, help="port, 0 for a free one (default 4610)")
    parser.add_argument("--https", type=int, default=4611, help="port, 0 for a free one (default 4611)")
    parser.add_argument("--data", default=str(default_data), help="folder for certificate and log")
    parser.add_argument("--json", action="store_true", help="tell programs, not people, when it is ready")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when standard input does")
    parser.add_argument(
        "--retry-seconds",
        type=float,
        default=0.2,
        help="wait before a failed event is retried, doubled each time (default 0.2; AWS: a minute)",
    )
    parser.add_argument(
        "--require-trail",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="events reach EventBridge only while a trail logs them, as on AWS (default)",
    )
    parser.add_argument(
        "--concurrency-limit",
        type=int,
        default=1000,
        help="how many functions an account may run at a time (default 1000; AWS: 10 in a new account)",
    )
    parser.add_argument(
        "--bucket-quota",
        type=int,
        default=10_000,
        help="how many buckets an account may have: past 10,000, they are listed in pages only (default 10000)",
    )
    parser.add_argument(
        "--unsettled",
        type=int,
        metavar="SEED",
        help="events late, twice, out of order or never, calls refused, answers lost, writes seen late",
    )
    parser.add_argument(
        "--exchanges",
        type=Path,
        metavar="FILE",
        help="add each signed request and its answer to this file, a JSON object a line",
    )
    return parser.parse_args()


def take(data: Path) -> IO[str]:
    """Make the folder, have it for ourselves as long as the lock is open, and remove what an earlier one unpacked."""
    data.mkdir(parents=True, exist_ok=True)
    lock = (data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another local AWS that uses {data} to end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    for unpacked in data.glob("ministack-provided-code-*"):
        shutil.rmtree(unpacked, ignore_errors=True)
    return lock


def listen(port: int) -> socket.socket:
    """A listening socket on loopback. Connections wait in it until MiniStack is ready."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"port {port} of 127.0.0.1: {error.strerror}; choose others with --http and --https")
    listener.listen()
    return listener


def port_of(listener: socket.socket) -> int:
    return listener.getsockname()[1]


def set_environment(
    options: argparse.Namespace, data: Path, http: int, https: int, certificate: Path, key: Path
) -> None:
    """What MiniStack reads when it is imported. The functions that it runs inherit all of it."""
    for name in list(os.environ):
        if name.startswith(FOREIGN_SETTINGS):
            del os.environ[name]
    os.environ.update(
        AUTH="true",
        GATEWAY_PORT=str(http),
        MINISTACK_REGION=REGION,
        MINISTACK_SSL_CERT=str(certificate),
        MINISTACK_SSL_KEY=str(key),
        TMPDIR=str(data),
        # It would listen on all interfaces.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LAMBDA_ASYNC_RETRY_BASE_SECONDS=str(options.retry_seconds),
        # Over HTTPS: the baseline's policy denies everything else, also to the guardrail.
        AWS_ENDPOINT_URL=f"https://127.0.0.1:{https}",
        SSL_CERT_FILE=str(certificate),
        NO_PROXY="127.0.0.1,localhost",
        no_proxy="127.0.0.1,localhost",
    )


def exit_with_parent() -> None:
    """End when standard input does, and with us the processes of the functions."""
    if os.getpgrp() != os.getpid():
        os.setsid()

    def wait() -> None:
        sys.stdin.buffer.read()
        # At once: nobody is left to see how requests on their way are given up.
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def log_to(file: Path) -> None:
    """Send all logging, the functions' output among it, to a file; keep standard output for the caller."""
    handler = logging.FileHandler(file, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(name)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def tls_material(data: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority; made anew when it is about to expire."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    certificate_file, key_file = data / "server.crt", data / "server.key"
    now = datetime.datetime.now(datetime.timezone.utc)
    if certificate_file.exists() and key_file.exists():
        known = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        if known.not_valid_after_utc > now + datetime.timedelta(days=1):
            return certificate_file, key_file
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "s3-guardrail local AWS")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file


def patched_app(options: argparse.Namespace) -> ASGIFramework:
    """MiniStack, patched; it is first imported here, as it reads the environment then."""
    import hooks

    hooks.check_version()
    import cloudformation_drift
    import cloudformation_stacks
    import cloudtrail_events
    import cloudtrail_trails
    import dynamodb_tables
    import events_rules
    import iam_context
    import iam_on_behalf
    import kms_keys
    import lambda_account
    import lambda_events
    import lambda_mappings
    import left_out
    import s3_extras
    import sqs_policies
    import unsettled
    from ministack import app

    iam_context.install()
    iam_on_behalf.install()
    cloudformation_drift.install()
    lambda_account.install(options.concurrency_limit)
    s3_extras.install(options.bucket_quota)
    kms_keys.install()
    cloudtrail_trails.install()
    cloudtrail_events.install(options.require_trail)
    unsettled.install(options.unsettled)
    left_out.install()
    lambda_events.install()
    lambda_mappings.install()
    events_rules.install()
    sqs_policies.install()
    dynamodb_tables.install()
    cloudformation_stacks.install()
    return app.app


async def serve(
    options: argparse.Namespace, http: socket.socket, https: socket.socket, certificate: Path, key: Path
) -> None:
    app = patched_app(options)
    http_port, https_port = port_of(http), port_of(https)
    import exchanges
    import unsettled
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    if options.exchanges:
        app = exchanges.recorded(app, options.exchanges)

    async def announcing_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["path"] == unsettled.PATH:
            return await unsettled.switch(scope, send)
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)

        async def announce_when_ready(message: ASGISendEvent) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                announce(options, http_port, https_port, certificate)

        return await app(scope, receive, announce_when_ready)

    config = Config()
    config.certfile, config.keyfile = str(certificate), str(key)
    config.bind, config.insecure_bind = [f"fd://{https.detach()}"], [f"fd://{http.detach()}"]
    config.keep_alive_timeout = 75
    # Past its 1,000, Hypercorn closes an HTTP/2 connection under the requests that are on their way, which then wait
    # for the timeout above.
    config.keep_alive_max_requests = sys.maxsize
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    config.accesslog, config.access_log_format = request_log(Path(options.data) / "requests"), "%(r)s %(s)s"
    await hypercorn_serve(announcing_app, config)


def request_log(file: Path) -> logging.Logger:
    log = logging.getLogger("requests")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.FileHandler(file, mode="w"))
    return log


def announce(options: argparse.Namespace, http: int, https: int, certificate: Path) -> None:
    if options.json:
        ready = {"http": f"http://127.0.0.1:{http}", "https": f"https://127.0.0.1:{https}", "ca": str(certificate)}
        print(json.dumps({"ready": True, "pid": os.getpid(), **ready}), flush=True)
        return
    print(
        f"""The local AWS is ready; Ctrl-C ends it. Its log: {Path(options.data).resolve() / "log"}

As its administrator, in another terminal:

  export AWS_ENDPOINT_URL=https://127.0.0.1:{https} AWS_CA_BUNDLE={certificate}
  export AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={REGION}
  {Path(sys.executable).parent / "aws"} sts get-caller-identity

The access key id is the account. Without TLS: http://127.0.0.1:{http}""",
        flush=True,
    )


if __name__ == "__main__":
    main()
