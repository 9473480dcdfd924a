"""The built host as a separate process, and connections to it."""
import base64
import http.client
import json
import os
import pathlib
import socket
import struct
import subprocess
import time

HANGS = 900.0  # seconds; ends only what would never end


class Place:
    """The paths of a run."""

    def __init__(self, root, work):
        self.root, self.work = pathlib.Path(root), pathlib.Path(work)
        self.binary, self.plugins, self.testdata = self.root / "bin/pynomaly-runtime", self.root / "bin/plugins", self.root / "testdata"
        self.models, self.state, self.cache = self.work / "models", self.work / "state", self.work / "wasm-cache"
        self.fits = self.work / "fits"
        self.fits.mkdir()
        self.cache.mkdir(mode=0o700, exist_ok=True)
        self.config = self.work / "plugins.yaml"
        user = "user: nobody, " if os.geteuid() == 0 else ""
        self.config.write_text(f"models: {{preload: [\"*\"]}}\nbackends: {{wasm: {{cache_dir: {json.dumps(str(self.cache))}}}, process: {{enabled: true, {user}allow: [{{path: {json.dumps(str(self.models))}}}]}}}}\n")

    def command(self, *args):
        return [str(self.binary), *args, "--models", str(self.models), "--state-dir", str(self.state), "--config", str(self.config)]


class Host:
    def __init__(self, place, models):
        """Starts a host with the given number of models. As a context manager it waits until all have loaded or failed."""
        self.models = models
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = open(place.work / "host.log", "wb")
        self.process = subprocess.Popen(place.command("serve", "--port", str(self.port), "--model-cache-size", "100", "--request-timeout", "10m", "--log-level", "warn"), stderr=self.log, stdout=self.log)
        self.connection = None

    def __enter__(self):
        limit = time.monotonic() + HANGS
        while True:
            try:
                models = self.ask("GET", "/api/v1/models")[1]["models"]
                if len(models) == self.models and all(m["status"] == "loaded" or m.get("failure") == "file" for m in models):
                    return self
            except (OSError, TypeError, KeyError):  # not yet
                pass
            if self.process.poll() is not None or time.monotonic() > limit:
                self.__exit__()
                raise RuntimeError("the host has not loaded its models: " + pathlib.Path(self.log.name).read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, method, path, body=None):
        """Sends a request, and returns the status and the JSON of the answer."""
        used = self.connection is not None
        if not used:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS)
        try:
            self.connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as err:
            self.connection.close()
            self.connection = None
            if used:  # hosts close connections that have been idle for long
                return self.ask(method, path, body)
            raise OSError(f"{path}: {err}") from err
        return answer.status, read_json(data)

    def stream(self):
        return WebSocket(self.port, "/api/v1/predict/stream")


def read_json(data):
    """Decodes JSON with all numbers as floats, so that -0 stays -0. Returns text that is not JSON as it is."""
    try:
        return json.loads(data, parse_int=float)
    except ValueError:
        return data.decode(errors="replace")


class WebSocket:
    """The part of RFC 6455 that text messages need."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), HANGS)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        if b" 101 " not in status:
            raise OSError(f"no WebSocket: {status!r}")
        while self.file.readline().strip():
            pass

    def ask(self, message):
        size = len(message)
        head = struct.pack(">BB", 0x81, 0x80 | size) if size < 126 else struct.pack(">BBH", 0x81, 0xFE, size) if size < 65536 else struct.pack(">BBQ", 0x81, 0xFF, size)
        self.socket.sendall(head + bytes(4) + message)  # the mask is 0
        whole = b""
        while True:
            first, size = struct.unpack(">BB", self.file.read(2))
            if size >= 126:
                size = struct.unpack(">H" if size == 126 else ">Q", self.file.read(2 if size == 126 else 8))[0]
            data = self.file.read(size)
            if first & 0x0F == 8:
                raise OSError(f"the WebSocket was closed: {data!r}")
            if first & 0x0F < 8:
                whole += data
                if first & 0x80:
                    return read_json(whole)

    def close(self):
        self.file.close()
        self.socket.close()
