"""nchan, a module of nginx, as Debian ships both: subscribers by WebSocket, publishes by POST.

Publishers keep their connection and do not wait for answers (HTTP pipelining), which are read and
thrown away: what was not taken shows as lost.

Source: https://nchan.io
"""

from __future__ import annotations

from pathlib import Path

from loadtest.peers import server, websocket
from loadtest.peers.peer import HOST, Data, Frame, Running, Step, number_at

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
KEPT = 10_000
"""Messages a channel keeps for subscribers that are behind; with its 10 they would miss some."""
CONF = """\
load_module {module};
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen {host}:{port} backlog=4096;
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length {kept};
      nchan_message_timeout 1m;
    }}
  }}
}}
"""


class Nchan:
    """nginx with nchan."""

    title = "nchan (nginx)"
    setting = f"one worker, `nchan_message_buffer_length {KEPT}`"
    install = "apt-get install nginx-light libnginx-mod-nchan"

    def version(self) -> str:
        """Give nginx's version, and the package's of the module where dpkg is."""
        nginx = server.says("nginx", "-v").rpartition("/")[2]
        if not nginx or not MODULE.exists():
            return ""
        package = server.says("dpkg-query", "-W", "-f=${Version}", "libnginx-mod-nchan")
        module = package.rpartition(":")[2].partition("+")[0]
        return f"{module or '?'} in nginx {nginx}"

    def start(self, folder: Path) -> Running:
        """Start it: one process, no master beside it."""
        port = server.free_port()
        conf = folder / "nginx.conf"
        conf.write_text(CONF.format(module=MODULE, folder=folder, host=HOST, port=port, kept=KEPT))
        command = [
            str(server.find("nginx")),
            "-p",
            str(folder),
            "-e",
            str(folder / "error.log"),
            "-c",
            str(conf),
        ]
        return server.start(command, folder, port)

    def enter(self, number: int, topic: str) -> list[Step]:
        """Open a WebSocket at the channel's address."""
        return [websocket.open_step(f"/sub/{topic}")]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """A connection of its own, with nothing to say first."""
        return []

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Publish."""
        return b"POST /pub/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            topic.encode(),
            HOST.encode(),
            len(payload),
            payload,
        )

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next frame; a message is its payload."""
        return websocket.frame(data, start, 0, number_at)
