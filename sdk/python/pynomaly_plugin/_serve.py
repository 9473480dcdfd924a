"""The go-plugin server that the host connects to."""

import base64
import concurrent.futures
import datetime
import json
import os
import signal
import sys
import tempfile
import threading
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import _batch, _output
from . import plugin_pb2 as pb
from ._detector import Setup

_PARENT = "PYNOMALY_PLUGIN_PARENT"
_PROTOCOL = 1


def serve(load, *, name, version, algorithm="", dtype="", features=None, orientation="", threshold=None, stateful=False, concurrency=1, explains=False, learns=False):
    """Serve a detector until the host ends it. Call this last in a plugin's script.

    load(setup) returns the detector or raises an exception, whose text the operator
    reads. dtype is float32, float64 or int64 if the detector takes a matrix of that
    type; if empty, batches have the features of the manifest, which may include
    strings. concurrency is how many threads of this process call the detector at once;
    the manifest asks for more processes.
    """
    if not _output.started_by_host():
        sys.exit("This is a plugin of pynomaly-runtime. Put it into a model's directory; the host starts it.")
    _watch_parent()
    description = pb.DescribeResponse(
        name=name, version=version, algorithm=algorithm, dtype=dtype, features=features or [], orientation=orientation, threshold=threshold,
        stateful=stateful, concurrency=1 if stateful else concurrency, explains=explains, learns=learns,
    )
    scorer = _Scorer(load, description)
    certificate, credentials = _credentials(os.environ.get("PLUGIN_CLIENT_CERT", ""))
    # More threads than calls: health checks and open streams need some.
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=description.concurrency + 8),
        options=[("grpc.max_receive_message_length", _batch.MAX_MESSAGE), ("grpc.max_send_message_length", _batch.MAX_MESSAGE)],
    )
    stopped = threading.Event()
    server.add_generic_rpc_handlers(tuple(_services(scorer, stopped)))
    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
    path = os.path.join(directory, f"plugin{os.getpid()}")
    if credentials:
        server.add_secure_port("unix:" + path, credentials)
    else:
        server.add_insecure_port("unix:" + path)
    server.start()
    _output.write_handshake(f"1|{_PROTOCOL}|unix|{path}|grpc|{certificate}")
    stopped.wait()
    server.stop(0.5).wait()
    scorer.close()


def _watch_parent():
    """End this process and its process group when the host is gone."""
    parent = os.environ.get(_PARENT, "")
    if not parent.isdigit():
        return

    def watch():
        while os.getppid() == int(parent):
            time.sleep(0.2)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _credentials(client):
    """Return this side's certificate for the handshake line and the server's credentials."""
    if not client:
        return "", None
    key = ec.generate_private_key(ec.SECP256R1())  # gRPC's C core does not support P-521
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=30 * 365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    der = certificate.public_bytes(serialization.Encoding.DER)
    credentials = grpc.ssl_server_credentials([(private, chain)], root_certificates=client.encode(), require_client_auth=True)
    return base64.b64encode(der).decode().rstrip("="), credentials


class _Scorer:
    """The protocol's service."""

    def __init__(self, load, description):
        self.load = load
        self.description = description
        self.slots = threading.Semaphore(description.concurrency)
        self.lock = threading.Lock()
        self.configuring = False
        self.detector = None
        self.features = []

    def close(self):
        if self.detector is not None and hasattr(self.detector, "close"):
            self.detector.close()

    def describe(self, _request, _context):
        return self.description

    def configure(self, request, context):
        with self.lock:
            again, self.configuring = self.configuring, True
        if again:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Configure was called twice")
        features = [_batch.Feature(f.name, f.dtype) for f in request.features]
        setup = Setup(json.loads(request.config_json or "{}"), request.model_dir, list(request.files), features)
        detector = _guarded(context, lambda: self.load(setup))
        if not callable(getattr(detector, "score", None)):
            context.abort(grpc.StatusCode.INTERNAL, f"load returned {type(detector).__name__}, which has no score method; wrap an estimator with pynomaly_plugin.sklearn")
        for method, said in (("explain", self.description.explains), ("learn", self.description.learns)):
            if said and not callable(getattr(detector, method, None)):
                context.abort(grpc.StatusCode.INTERNAL, f"serve says {method}s=True, but load returned {type(detector).__name__}, which has no {method} method")
        self.features, self.detector = features, detector
        return pb.ConfigureResponse()

    def ready(self, context, ability=None):
        if self.detector is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Configure was not called")
        if ability is None:
            return None
        method = getattr(self.detector, ability, None)
        if not callable(method):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the detector has no method {ability}")
        return method

    def batch(self, chunks, context):
        try:
            batch = _batch.receive(self.features, chunks)
        except _batch.Malformed as e:
            context.abort(grpc.StatusCode.INTERNAL, f"malformed message: {e}")
        batch.trace = {key: value for key, value in context.invocation_metadata() if key in ("traceparent", "tracestate")}
        return batch

    def in_slot(self, context, call):
        """Take a slot and call the detector with the batch."""
        while not self.slots.acquire(timeout=0.1):
            if not context.is_active():
                context.abort(grpc.StatusCode.CANCELLED, "the host has stopped waiting")
        try:
            if not context.is_active():
                context.abort(grpc.StatusCode.CANCELLED, "the host has stopped waiting")
            return _guarded(context, call)
        finally:
            self.slots.release()

    def scores(self, chunks, context, ability, width):
        method = self.ready(context, ability)
        batch = self.batch(chunks, context)

        def call():
            if batch.rows == 0:  # the host checks whether a slot is free
                return pb.ScoreResult()
            try:
                return pb.ScoreResult(scores=_batch.scores(method(batch), batch.rows, width))
            except _batch.RowErrors as e:
                found = e.scores if e.scores is not None else [float("nan")] * (batch.rows * width)
                return pb.ScoreResult(scores=_batch.scores(found, batch.rows, width), errors=e.messages(batch.rows))

        return self.in_slot(context, call)

    def score(self, chunks, context):
        return self.scores(chunks, context, "score", 1)

    def explain(self, chunks, context):
        return self.scores(chunks, context, "explain", 1 + len(self.features))

    def learn(self, chunks, context):
        method = self.ready(context, "learn")
        batch = self.batch(chunks, context)

        def call():
            try:
                if batch.rows > 0:
                    method(batch)
                return pb.LearnResponse()
            except _batch.RowErrors as e:
                return pb.LearnResponse(errors=e.messages(batch.rows))

        return self.in_slot(context, call)

    def save_state(self, _request, context):
        method = self.ready(context, "save")
        return self.in_slot(context, lambda: pb.SaveStateResponse(state=bytes(method())))

    def load_state(self, request, context):
        method = self.ready(context, "load")
        self.in_slot(context, lambda: method(request.state))
        return pb.LoadStateResponse()


def _guarded(context, call):
    """Convert an exception of the detector to the protocol's status for it."""
    try:
        return call()
    except _batch.InvalidRows as e:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e) or "invalid rows")
    except _batch.Unavailable as e:
        context.abort(grpc.StatusCode.UNAVAILABLE, str(e) or "unavailable")
    except Exception as e:  # the process continues
        _output.log_exception(e)
        context.abort(grpc.StatusCode.INTERNAL, _output.describe(e))


def _services(scorer, stopped):
    """Register the protocol's service and those that go-plugin needs."""
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_unary_rpc_method_handler

    def made(make, method, request, response):
        return make(method, request_deserializer=request.FromString, response_serializer=response.SerializeToString)

    yield grpc.method_handlers_generic_handler("pynomaly.plugin.v1.Scorer", {
        "Describe": made(unary, scorer.describe, pb.DescribeRequest, pb.DescribeResponse),
        "Configure": made(unary, scorer.configure, pb.ConfigureRequest, pb.ConfigureResponse),
        "Score": made(stream, scorer.score, pb.ScoreChunk, pb.ScoreResult),
        "Explain": made(stream, scorer.explain, pb.ScoreChunk, pb.ScoreResult),
        "Learn": made(stream, scorer.learn, pb.ScoreChunk, pb.LearnResponse),
        "SaveState": made(unary, scorer.save_state, pb.SaveStateRequest, pb.SaveStateResponse),
        "LoadState": made(unary, scorer.load_state, pb.LoadStateRequest, pb.LoadStateResponse),
    })

    # Their messages are empty or hold one number, SERVING.
    def shutdown(_request, _context):
        stopped.set()
        return b""

    def until_end(_request, context):
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait()
        return iter(())

    yield grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": unary(lambda _request, _context: b"\x08\x01")})
    yield grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(shutdown)})
    # The stream stays empty: the host reads the plugin's standard error
    # instead.
    yield grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": grpc.unary_stream_rpc_method_handler(until_end)})
    yield grpc.method_handlers_generic_handler("plugin.GRPCBroker", {"StartStream": grpc.stream_stream_rpc_method_handler(until_end)})
