"""Who takes the uploads: nginx, which reads every body whole and keeps none; without it the embedded server.

nginx is made fair: a plain `return 200` would answer before the body is there. So it buffers the body in memory, and
only then asks a second server of its own, on a unix socket and without the body, which answers in the API's shape.
Ids are nginx's `$request_id`. Nothing is checked: that costs CPU, and the benchmark is about the sender.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from benchmarks.serving import serving

LOOPBACK = "127.0.0.1"
RESETTING = 444
CONFIGURATION = """
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format bytes '$msec $request_method $uri $status $request_length';
  limit_conn_zone $server_port zone=parts:1m;
  access_log {folder}/access.log bytes;
  default_type application/json;
  client_max_body_size 80m; client_body_buffer_size 66m; client_body_temp_path {folder}/bodies;
  proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream answers {{ server unix:{folder}/answers; keepalive 64; }}
  server {{
    {listen}
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    location ~ /parts$ {{
      {limit}
      proxy_pass http://answers; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
    location / {{
      proxy_pass http://answers; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
  server {{
    listen unix:{folder}/answers; access_log off;
    location ~ /parts$ {{ return 200 '{{"id":"part_$request_id","object":"upload.part","created_at":{now}}}'; }}
    location ~ /uploads/(?<upload>[^/]+)/complete$ {{
      return 200 '{{"id":"$upload","object":"upload",{times},"status":"completed",
        "file":{{"id":"file_$request_id","object":"file","created_at":{now}}}}}';
    }}
    location ~ /uploads$ {{ return 200 '{{"id":"upload_$request_id","object":"upload",{times},"status":"pending"}}'; }}
    location ~ /files$ {{
      if ($request_method = GET) {{ return 200 '{{"object":"list","data":[],"has_more":false}}'; }}
      return 200 '{{"id":"file_$request_id","object":"file","created_at":{now}}}';
    }}
    location / {{ return 404 '{{"error":{{"message":"not here"}}}}'; }}
  }}
}}
"""


@frozen
class Receiver:
    """`url` is a base URL; `trust` the certificate to trust, None over plain HTTP; `folder` what it may store in."""

    name: str
    url: str
    trust: Path | None = None
    folder: Path | None = None

    def environment(self, folder: Path) -> dict[str, str]:
        """What a contender needs to find it; its journal lies in `folder`."""
        trust = {"SSL_CERT_FILE": str(self.trust)} if self.trust else {}
        return {
            **os.environ,
            "OPENAI_BASE_URL": self.url,
            "OPENAI_API_KEY": "sk-benchmark",
            "ASYNCSDK_JOURNAL": f"{folder}/journal",
            **trust,
        }

    def empty(self) -> None:
        """Free the disk: what was stored is not looked at again."""
        for path in self.folder.rglob("*") if self.folder else ():
            if path.is_file() and path.stat().st_size > 1 << 20:
                os.truncate(path, 0)


def port_of(receiver: Receiver) -> int:
    port = urlsplit(receiver.url).port
    assert port is not None
    return port


@contextmanager
def receiving(
    folder: Path, *, tls: bool, addresses: Sequence[str] = (LOOPBACK,), limit: str = ""
) -> Iterator[Receiver]:
    """A receiver that stores under `folder`: nginx where it is installed, listening on all `addresses`.

    `limit` is for parts, in nginx's words; `RESETTING` is the status that resets the connection.
    """
    folder.mkdir()
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is not None:
        with _nginx(program, folder, tls=tls, addresses=addresses, limit=limit) as receiver:
            yield receiver
    elif tls:
        sys.exit("TLS needs nginx; without it only --plain is measured, against the embedded server")
    else:
        print("no nginx here: the receiver is the embedded server, whose CPU is on the same cores", file=sys.stderr)
        with serving(folder) as (url, _):
            yield Receiver("the embedded server", url, folder=folder)


@contextmanager
def _nginx(program: str, folder: Path, *, tls: bool, addresses: Sequence[str], limit: str) -> Iterator[Receiver]:
    # in a process of its own: what this one has grown to would be counted to the contenders that it starts
    subprocess.run([sys.executable, "-m", "trustme", "-q", "-d", str(folder), "-i", *addresses], check=True)
    plain, secure, now = _free_port(), _free_port(), int(time.time())
    text = CONFIGURATION.format(
        folder=folder,
        limit=limit,
        listen=" ".join(f"listen {address}:{plain}; listen {address}:{secure} ssl;" for address in addresses),
        now=now,
        workers=os.cpu_count(),
        times=f'"created_at":{now},"expires_at":{now + 86400}',
    )
    (folder / "nginx.conf").write_text(("user root; " if os.geteuid() == 0 else "") + text)
    with subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")]) as server:
        try:
            _wait_for(plain)
            if tls:
                yield Receiver("nginx", f"https://127.0.0.1:{secure}/v1", folder / "client.pem")
            else:
                yield Receiver("nginx", f"http://127.0.0.1:{plain}/v1")
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    sys.exit("nginx does not listen")
