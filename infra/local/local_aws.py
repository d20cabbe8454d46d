"""The local AWS: MiniStack, and what it lacks for the guardrail. Started by start.py.

Every patch says what AWS does and what MiniStack does instead. `hooks.patch` refuses to start
when a function that a patch replaces is not the one that the patch was written for.
"""

import argparse
import asyncio
import datetime
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

REGION = "eu-west-2"


def main() -> None:
    options = parse_arguments()
    data = Path(options.data).resolve()
    data.mkdir(parents=True, exist_ok=True)
    http, https = (options.http or free_port()), (options.https or free_port())
    certificate, key = tls_material(data)
    # MiniStack reads these when it is imported; the functions it runs inherit the last two.
    os.environ.update(
        AUTH="true",
        GATEWAY_PORT=str(http),
        MINISTACK_REGION=REGION,
        MINISTACK_SSL_CERT=str(certificate),
        MINISTACK_SSL_KEY=str(key),
        TMPDIR=str(data),
        # It would listen on all interfaces.
        IOT_MTLS_ENABLED="0",
        LAMBDA_ASYNC_RETRY_BASE_SECONDS=str(options.retry_seconds),
        # Over HTTPS: the baseline's policy denies everything else, also to the guardrail.
        AWS_ENDPOINT_URL=f"https://127.0.0.1:{https}",
        SSL_CERT_FILE=str(certificate),
    )
    if options.exit_with_parent:
        # A group of our own, so that the functions' processes end with us.
        os.setsid()
        threading.Thread(target=end_with_parent, daemon=True).start()
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
        "--retry-seconds", type=float, default=0.2, help="wait before a failed event is retried (AWS: a minute)"
    )
    return parser.parse_args()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGTERM)


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
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file


async def serve(options: argparse.Namespace, http: int, https: int, certificate: Path, key: Path) -> None:
    import hooks

    hooks.check_version()
    import cloudtrail_events
    import iam_context
    import lambda_events
    import s3_extras
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack import app

    for module in (iam_context, s3_extras, cloudtrail_events, lambda_events):
        module.install()

    config = Config()
    config.certfile, config.keyfile = str(certificate), str(key)
    config.bind, config.insecure_bind = [f"127.0.0.1:{https}"], [f"127.0.0.1:{http}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    server = asyncio.create_task(hypercorn_serve(app.app, config))
    while not server.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", http)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    else:
        server.result()
        sys.exit("the local AWS ended before it was ready")
    announce(options, http, https, certificate)
    await server


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
