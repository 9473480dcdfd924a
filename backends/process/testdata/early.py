"""Fails before the SDK is imported."""

import no_such_library
import pynomaly_plugin

pynomaly_plugin.serve(no_such_library.load, name="early", version="1.0.0", dtype="float64")
