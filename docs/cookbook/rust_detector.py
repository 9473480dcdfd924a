"""A detector of your own in Rust, as a WASM module: the Mahalanobis distance."""

import hashlib
import json
import os
import pathlib
import subprocess

import numpy as np
import pandas as pd
from sklearn.covariance import EmpiricalCovariance
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer(as_frame=True).data.iloc[:, :6]
data.columns = [c.replace(" ", "_") for c in data.columns]
train, rows = data[:400], data[400:]
fitted = EmpiricalCovariance().fit(train.to_numpy())
columns = train.shape[1]

# A project with the SDK and a sample detector, whose code and model are replaced.
subprocess.run(["pynomaly-runtime", "plugin", "new", "--lang", "rust", "mahalanobis"], check=True)
project = pathlib.Path("mahalanobis")
(project / "src" / "lib.rs").write_text('''//! The squared Mahalanobis distance of a row from the training rows.
//!
//! The model's file fit.f64 has the mean, then the inverse of the covariance, row by row.

use pynomaly_guest::{DType, Description, Detector, Matrix, Setup};

struct Mahalanobis {
    mean: Vec<f64>,
    inverse: Vec<f64>,
}

impl Detector for Mahalanobis {
    fn describe() -> Description {
        Description { algorithm: "Mahalanobis".into(), ..Description::new("mahalanobis", "1.0.0", DType::Float64) }
    }

    fn init(setup: Setup) -> Result<Self, String> {
        let n = setup.features.len();
        let data = setup.file("fit.f64").ok_or("the model has no file fit.f64")?;
        if data.len() != 8 * (n + n * n) {
            return Err(format!("fit.f64 has {} bytes, which does not fit {} features", data.len(), n));
        }
        let all: Vec<f64> = data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        Ok(Mahalanobis { mean: all[..n].to_vec(), inverse: all[n..].to_vec() })
    }

    fn score(&mut self, rows: Matrix, out: &mut [f64]) -> Result<(), String> {
        let n = self.mean.len();
        if rows.cols != n {
            return Err(format!("a row has {} values, not {}", rows.cols, n));
        }
        for (row, out) in rows.float64s()?.chunks(n).zip(out) {
            let off: Vec<f64> = row.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
            let term = |i: usize| off[i] * off.iter().zip(&self.inverse[i * n..]).map(|(x, a)| x * a).sum::<f64>();
            *out = (0..n).map(term).sum();
        }
        Ok(())
    }
}

pynomaly_guest::export!(Mahalanobis);
''')
model = project / "model"
(model / "train.f64").unlink()
np.concatenate([fitted.location_, fitted.precision_.ravel()]).astype("<f8").tofile(model / "fit.f64")
distances = fitted.mahalanobis(train.to_numpy())
golden = [{"data": row, "score": score} for row, score in zip(train[:16].to_dict("records"), distances)]
(model / "golden.ndjson").write_text("".join(json.dumps(g) + "\n" for g in golden))
(model / "model.yaml").write_text(json.dumps({
    "apiVersion": "pynomaly.io/v1", "kind": "Model", "id": "mahalanobis", "version": "1.0.0",
    "backend": "wasm", "artifact": "detector.wasm",
    "files": {"fit.f64": "sha256:" + hashlib.sha256((model / "fit.f64").read_bytes()).hexdigest()},
    "features": [{"name": name, "dtype": "float64"} for name in train.columns],
    "threshold": float(np.quantile(distances, 0.95)),
    "calibration": {"method": "linear", "min": float(distances.min()), "max": float(distances.max())},
    "golden": {"rows": "golden.ndjson", "tolerance": 1e-9},
}, indent=1))

# Debian's cargo has the target wasm32-unknown-unknown with libstd-rust-dev-wasm32;
# rustup's gets it by: rustup target add wasm32-unknown-unknown
debian = {"CARGO": "/usr/bin/cargo", "RUSTC": "/usr/bin/rustc"} if os.path.isdir("/usr/lib/rustlib/wasm32-unknown-unknown") else {}
subprocess.run(["pynomaly-runtime", "plugin", "build", "mahalanobis"], check=True, env={**os.environ, **debian})
subprocess.run(["pynomaly-runtime", "plugin", "test", "mahalanobis"], check=True)
subprocess.run(["pynomaly-runtime", "plugin", "pack", "mahalanobis", "--models", "models"], check=True)
rows.to_csv("rows.csv", index=False)
subprocess.run(["pynomaly-runtime", "predict", "mahalanobis", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
own = fitted.mahalanobis(rows.to_numpy())
difference = (np.abs(served["score"] - own) / own).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest relative difference {difference:.1e}")
assert difference < 1e-9
