# SPDX-License-Identifier: Apache-2.0
"""Real web servers with the drop-in files of deploy/, changed only in their paths."""

import os
import re
import socket
from pathlib import Path

from .process import SOURCE, Process

NGINX = """
daemon off;
{user}
worker_processes 2;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 9000; }}
http {{
	access_log off;
	default_type text/plain;
	gzip on;
	gzip_types *;
	gzip_min_length 1;
	gzip_proxied any;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	include {dir}/conf.d/*.conf;
	server {{
		listen {root} backlog=8192;
		{listen}
		include snippets/tt-agent-root.conf;
	}}
	server {{
		listen {prefix} backlog=8192;
		include snippets/tt-agent-locations.conf;
		location / {{ return 200 "another site"; }}
	}}
}}
"""

LIGHTTPD = """
server.modules = ( "mod_access" )
server.document-root = "{dir}/www"
server.bind = "127.0.0.1"
server.port = {port}
server.systemd-socket-activation = "enable"
server.errorlog = "/dev/stderr"
server.max-fds = 16000
server.listen-backlog = 8192
server.upload-dirs = ( "{dir}" )
include "{dir}/conf-available/{drop_in}"
"""


APACHE = """
ServerRoot {dir}
ServerName localhost
DefaultRuntimeDir {dir}
PidFile {dir}/apache.pid
Mutex posixsem
Listen {host}
ListenBacklog 8192
LoadModule mpm_event_module {modules}/mod_mpm_event.so
ThreadsPerChild 250
ThreadLimit 250
StartServers 2
ServerLimit 4
MaxRequestWorkers 1000
MinSpareThreads 75
MaxSpareThreads 1000
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule env_module {modules}/mod_env.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
LoadModule remoteip_module {modules}/mod_remoteip.so
AddOutputFilterByType DEFLATE text/plain application/json
<Directory {dir}/www>
ForceType text/plain
</Directory>
ErrorLog /dev/stderr
LogLevel warn
DocumentRoot {dir}/www
{remoteip}
<VirtualHost {host}>
Include {dir}/conf-available/{drop_in}
</VirtualHost>
"""


def listener():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(8192)
    s.setblocking(False)  # nginx takes an inherited socket as it is; two workers accept on it
    return s


# What the comments of tt-agent-fastcgi.conf offer for an access log.
ACCESS_LOG = {
    "nginx": r"^#(access_log .*)$",
    "lighttpd": r"^# +(accesslog\..*?)(?:  +#.*)?$",
    "apache": r"^# +(LogFormat .*|CustomLog .*)$",
}


def access_log_lines(server, log):
    """The lines that turn it on, into this file."""
    comments = (SOURCE / "deploy" / server / "tt-agent-fastcgi.conf").read_text()
    return re.sub(r"/var/log/\S+/tt-agent\.log", str(log), "\n".join(re.findall(ACCESS_LOG[server], comments, re.M))) + "\n"


def copy_drop_ins(server, to, replace, path):
    """path: what replaces /agent."""
    to.mkdir(parents=True, exist_ok=True)
    for file in sorted((SOURCE / "deploy" / server).glob("*.conf")):
        text = file.read_text()
        for old, new in replace.items():
            text = text.replace(old, new)
        text = re.sub(r"/agent\b", path, text)
        (to / file.name).write_text(text)


class Nginx:
    """The service at the root of one port and under a path of another, as .root and .prefix."""

    def __init__(self, testbed, name, fcgi_socket, path="/agent", access_log=None, monitor=None, listen=None, before=()):
        directory = Path(testbed.directory) / name
        copy_drop_ins("nginx", directory / "snippets", {"/run/tt-agent-fcgi/fcgi.sock": str(fcgi_socket)}, path)
        if access_log:
            with open(directory / "snippets" / "tt-agent-fastcgi.conf", "a") as file:
                file.write(access_log_lines("nginx", access_log))
        if monitor:
            follow_comments_on_metrics(directory / "snippets", monitor)
        (directory / "conf.d").mkdir()
        (directory / "snippets" / "tt-agent-upstream.conf").rename(directory / "conf.d" / "tt-agent-upstream.conf")
        sockets = [listener(), listener()]
        self.root, self.prefix = (f"127.0.0.1:{s.getsockname()[1]}" for s in sockets)
        (directory / "nginx.conf").write_text(NGINX.format(
            dir=directory, root=self.root, prefix=self.prefix, listen=f"listen {listen};" if listen else "", user="user root;" if os.getuid() == 0 else ""))
        # nginx takes over listening sockets that it inherits: no port is chosen twice.
        fds = [s.fileno() for s in sockets]
        self.process = Process(
            name, [*before, "nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"], testbed.directory,
            env={"NGINX": "".join(f"{fd};" for fd in fds)}, pass_fds=fds)
        for s in sockets:
            s.close()

    def stop(self):
        return self.process.stop()


def reserved():
    """A port that somebody may listen on who sets SO_REUSEADDR, but nobody is given by chance."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s


def follow_comments_on_metrics(directory, address):
    """Does what the files say for a client that may read the metrics and nothing else; of this machine only 127.0.0.1 stays admin."""
    for file in directory.glob("tt-agent-*.conf"):
        text = file.read_text().replace("127.0.0.0/8", "127.0.0.1/32")
        text = re.sub(r"^(\tdefault 0;)$", r"\1\n\t192.0.2.3 metrics;", text, count=1, flags=re.M)                         # nginx
        text = re.sub(r"^#(ProxyFCGISetEnvIf )|^\t#((?:else |\tsetenv|\}).*)$", lambda m: m[1] or "\t" + m[2], text, flags=re.M)
        file.write_text(text.replace("192.0.2.3", address))


def follow_comments_on_proxies(directory, proxy):
    """Does what the end of tt-agent-fastcgi.conf says for a proxy with that address in front."""
    file = directory / "tt-agent-fastcgi.conf"
    text = file.read_text().replace("192.0.2.1", proxy)
    text = re.sub(r"^# +(extforward\..*)$", r"\1", text, flags=re.M)
    condition = re.search(r'^# +(\$REQUEST_HEADER\["X-Forwarded-For"\] =~ .*)$', text, re.M)[1]
    file.write_text(text.replace('\n$REQUEST_HEADER["X-Forwarded-For"] == "" {\n', f"\n{condition}\n"))
    for file in directory.glob("50-*.conf"):
        file.write_text('server.modules += ( "mod_extforward" )\n' + file.read_text())


class Lighttpd:
    """drop_in: 50-tt-agent.conf (under path) or 50-tt-agent-root.conf."""

    def __init__(self, testbed, name, fcgi_socket, drop_in, path="/agent", proxy=None, access_log=None, monitor=None):
        directory = Path(testbed.directory) / name
        copy_drop_ins("lighttpd", directory / "conf-available", {
            "/run/tt-agent-fcgi/fcgi.sock": str(fcgi_socket), "/etc/lighttpd/": f"{directory}/"}, path)
        if proxy is not None:
            follow_comments_on_proxies(directory / "conf-available", proxy)
        if monitor:
            follow_comments_on_metrics(directory / "conf-available", monitor)
        if access_log:
            with open(directory / "conf-available" / "tt-agent-fastcgi.conf", "a") as file:
                file.write(access_log_lines("lighttpd", access_log))
            drop = directory / "conf-available" / drop_in
            drop.write_text('server.modules += ( "mod_accesslog" )\n' + drop.read_text())
        (directory / "www").mkdir()
        s = listener()
        port = s.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        (directory / "lighttpd.conf").write_text(LIGHTTPD.format(dir=directory, port=port, drop_in=drop_in))
        # bash, because dash redirects descriptors of one digit only.
        script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec lighttpd -D -f "$0" 3<&{s.fileno()}'
        self.process = Process(name, ["/bin/bash", "-c", script, directory / "lighttpd.conf"], testbed.directory,
                               pass_fds=[s.fileno()])
        s.close()

    def stop(self):
        return self.process.stop()


class Apache:
    """drop_in: tt-agent.conf (under path) or tt-agent-root.conf."""

    def __init__(self, testbed, name, fcgi_socket, drop_in="tt-agent-root.conf", path="/agent", proxy=None, access_log=None, monitor=None):
        directory = Path(testbed.directory) / name
        copy_drop_ins("apache", directory / "conf-available", {
            "/run/tt-agent-fcgi/fcgi.sock": str(fcgi_socket), "/etc/apache2/": f"{directory}/"}, path)
        if monitor:
            follow_comments_on_metrics(directory / "conf-available", monitor)
        (directory / "www").mkdir()
        (directory / "www" / "rest").write_text("another site" * 100)
        comments = (SOURCE / "deploy" / "apache" / "tt-agent-fastcgi.conf").read_text()
        remoteip = "\n".join(re.findall(r"^# +(RemoteIP.*)$", comments, re.M)) if proxy else ""
        if access_log:
            drop = directory / "conf-available" / drop_in
            drop.write_text(access_log_lines("apache", access_log) + drop.read_text())
        s = testbed.client(reserved())  # Apache takes over no sockets
        self.host = f"127.0.0.1:{s.getsockname()[1]}"
        (directory / "apache.conf").write_text(APACHE.format(
            dir=directory, host=self.host, modules="/usr/lib/apache2/modules", drop_in=drop_in,
            remoteip=remoteip.replace("192.0.2.1", str(proxy))))
        argv = ["/usr/sbin/apache2", "-DFOREGROUND", "-f", directory / "apache.conf"]
        if os.getuid() == 0:
            # Its children never run as root: it begins as another user, who may enter our directory all the same.
            argv = ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "--inh-caps=+dac_override",
                    "--ambient-caps=+dac_override", *argv]
        self.process = Process(name, argv, testbed.directory)

    def stop(self):
        return self.process.stop()


PROXY = """
daemon off;
{user}
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen {plain};
		location / {{ proxy_pass http://{to}; }}
	}}
	server {{
		listen {collecting};
		location / {{
			proxy_pass http://{to};
			proxy_ignore_headers X-Accel-Buffering;
			proxy_buffers 8 256k;
			proxy_buffer_size 256k;
			proxy_busy_buffers_size 512k;
		}}
	}}
}}
"""


class Proxy:
    """Another nginx in front of a web server: .plain has nginx's default settings, .collecting ignores X-Accel-Buffering."""

    def __init__(self, testbed, name, to):
        directory = Path(testbed.directory) / name
        directory.mkdir()
        sockets = [listener(), listener()]
        self.plain, self.collecting = (f"127.0.0.1:{s.getsockname()[1]}" for s in sockets)
        (directory / "nginx.conf").write_text(PROXY.format(
            dir=directory, to=to, plain=self.plain, collecting=self.collecting, user="user root;" if os.getuid() == 0 else ""))
        fds = [s.fileno() for s in sockets]
        self.process = Process(
            name, ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"], testbed.directory,
            env={"NGINX": "".join(f"{fd};" for fd in fds)}, pass_fds=fds)
        for s in sockets:
            s.close()

    def stop(self):
        return self.process.stop()
