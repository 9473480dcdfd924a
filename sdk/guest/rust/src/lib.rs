//! Makes a detector written in Rust a WebAssembly plugin.
//!
//! A plugin is a `cdylib` crate that implements [`Detector`] and exports it:
//!
//! ```
//! use pynomaly_guest::{DType, Description, Detector, Matrix, Setup};
//!
//! struct Sums;
//!
//! impl Detector for Sums {
//!     fn describe() -> Description {
//!         Description::new("sums", "1.0.0", DType::Float64)
//!     }
//!     fn init(_: Setup) -> Result<Self, String> {
//!         Ok(Sums)
//!     }
//!     fn score(&mut self, rows: Matrix, out: &mut [f64]) -> Result<(), String> {
//!         for (row, score) in rows.float64s()?.chunks(rows.cols).zip(out) {
//!             *score = row.iter().sum();
//!         }
//!         Ok(())
//!     }
//! }
//!
//! pynomaly_guest::export!(Sums);
//! # fn main() {}
//! ```
//!
//! It is built for `wasm32-unknown-unknown`. Everywhere else it is a plain crate,
//! so that a detector is unit-tested natively with [`run`].

mod abi;
mod json;
mod setup;

pub use abi::{allocate, release, Guest};
pub use json::Json;
pub use setup::{Feature, Setup};

/// The type of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    Float32,
    Float64,
    Int64,
}

impl DType {
    pub fn name(self) -> &'static str {
        match self {
            DType::Float32 => "float32",
            DType::Float64 => "float64",
            DType::Int64 => "int64",
        }
    }
}

/// What a detector says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub algorithm: String,
    pub dtype: DType,
    /// The columns' names in order; none: as the manifest says.
    pub features: Option<Vec<String>>,
    pub higher_is_normal: bool,
    /// On the oriented score, where higher is more anomalous; none: as the manifest says.
    pub threshold: Option<f64>,
    pub stateful: bool,
}

impl Description {
    /// A description with everything else left to the manifest.
    pub fn new(name: &str, version: &str, dtype: DType) -> Self {
        Description {
            name: name.into(),
            version: version.into(),
            algorithm: String::new(),
            dtype,
            features: None,
            higher_is_normal: false,
            threshold: None,
            stateful: false,
        }
    }

    pub(crate) fn json(&self) -> Json {
        let text = |s: &str| Json::String(s.into());
        let orientation = if self.higher_is_normal { "higher_is_normal" } else { "higher_is_anomalous" };
        let features = self.features.as_ref().map(|names| Json::Array(names.iter().map(|n| text(n)).collect()));
        let members = [
            ("name", text(&self.name)),
            ("version", text(&self.version)),
            ("algorithm", text(&self.algorithm)),
            ("dtype", text(self.dtype.name())),
            ("features", features.unwrap_or(Json::Null)),
            ("orientation", text(orientation)),
            ("threshold", self.threshold.map_or(Json::Null, Json::Number)),
            ("stateful", Json::Bool(self.stateful)),
        ];
        Json::Object(members.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
    }
}

/// Rows x columns numbers, row after row, in the described type.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub rows: usize,
    pub cols: usize,
    pub values: Values<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Int64(&'a [i64]),
}

impl<'a> Matrix<'a> {
    /// A matrix of float64, for tests.
    pub fn new(values: &'a [f64], cols: usize) -> Self {
        Matrix { rows: values.len() / cols.max(1), cols, values: Values::Float64(values) }
    }

    pub fn float32s(&self) -> Result<&'a [f32], String> {
        match self.values {
            Values::Float32(v) => Ok(v),
            _ => Err("the matrix is not one of float32".into()),
        }
    }

    pub fn float64s(&self) -> Result<&'a [f64], String> {
        match self.values {
            Values::Float64(v) => Ok(v),
            _ => Err("the matrix is not one of float64".into()),
        }
    }

    pub fn int64s(&self) -> Result<&'a [i64], String> {
        match self.values {
            Values::Int64(v) => Ok(v),
            _ => Err("the matrix is not one of int64".into()),
        }
    }
}

/// What a plugin's author writes. A panic ends the instance; the host starts another.
pub trait Detector: Sized {
    fn describe() -> Description;

    /// Is called once, after `describe`.
    fn init(setup: Setup) -> Result<Self, String>;

    /// Writes one raw score a row; one that is not finite means that the row cannot
    /// be scored.
    fn score(&mut self, rows: Matrix, out: &mut [f64]) -> Result<(), String>;

    /// Writes, for each row, a base value and a contribution of each column to the
    /// raw score: `out` has rows x (1 + columns) places. Exported if asked for.
    fn explain(&mut self, _rows: Matrix, _out: &mut [f64]) -> Result<(), String> {
        Err("the detector does not explain itself".into())
    }

    /// Takes rows into the state. Exported if asked for.
    fn learn(&mut self, _rows: Matrix) -> Result<(), String> {
        Err("the detector does not learn".into())
    }

    /// The state; empty: none. Exported, with `load`, if `snapshot` is asked for.
    fn save(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn load(&mut self, _state: &[u8]) -> Result<(), String> {
        Err("the detector has no state to load".into())
    }
}

/// Does natively what the host does with a module: initialises a detector and scores
/// rows of float64. Use it in unit tests.
pub fn run<D: Detector>(setup: Setup, rows: &[Vec<f64>]) -> Result<Vec<f64>, String> {
    let mut detector = D::init(setup)?;
    let mut out = vec![f64::NAN; rows.len()];
    let cols = rows.first().map_or(0, Vec::len);
    let (f, g, i): (Vec<f32>, Vec<f64>, Vec<i64>);
    let numbers = rows.iter().flatten().copied();
    let values = match D::describe().dtype {
        DType::Float32 => {
            f = numbers.map(|v| v as f32).collect();
            Values::Float32(&f)
        }
        DType::Float64 => {
            g = numbers.collect();
            Values::Float64(&g)
        }
        DType::Int64 => {
            i = numbers.map(|v| v as i64).collect();
            Values::Int64(&i)
        }
    };
    detector.score(Matrix { rows: rows.len(), cols, values }, &mut out)?;
    Ok(out)
}

/// Exports a detector as the module's: `export!(Ecod)`, or with the names of optional
/// functions, which are `explain`, `learn` and `snapshot`: `export!(Ecod, explain)`.
#[macro_export]
macro_rules! export {
    ($detector:ty $(, $optional:ident)* $(,)?) => {
        mod pynomaly_exports {
            use super::*;

            std::thread_local! {
                static GUEST: std::cell::RefCell<$crate::Guest<$detector>> = std::cell::RefCell::new($crate::Guest::new());
            }

            fn with<T>(f: impl FnOnce(&mut $crate::Guest<$detector>) -> T) -> T {
                GUEST.with(|guest| f(&mut guest.borrow_mut()))
            }

            #[no_mangle]
            extern "C" fn pynomaly_abi_v1() {}
            #[no_mangle]
            extern "C" fn pynomaly_alloc(size: usize) -> *mut u8 {
                $crate::allocate(size)
            }
            #[no_mangle]
            unsafe extern "C" fn pynomaly_free(block: *mut u8, size: usize) {
                $crate::release(block, size)
            }
            #[no_mangle]
            extern "C" fn pynomaly_describe() -> u64 {
                with(|g| g.describe())
            }
            #[no_mangle]
            unsafe extern "C" fn pynomaly_init(block: *const u8, size: usize) -> u32 {
                with(|g| g.init(block, size))
            }
            #[no_mangle]
            unsafe extern "C" fn pynomaly_score(rows: *const u8, count: usize, cols: usize, out: *mut f64) -> u32 {
                with(|g| g.score(rows, count, cols, out))
            }
            #[no_mangle]
            extern "C" fn pynomaly_last_error() -> u64 {
                with(|g| g.last_error())
            }
            $($crate::export_optional!($optional);)*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_optional {
    (explain) => {
        #[no_mangle]
        unsafe extern "C" fn pynomaly_explain(rows: *const u8, count: usize, cols: usize, out: *mut f64) -> u32 {
            with(|g| g.explain(rows, count, cols, out))
        }
    };
    (learn) => {
        #[no_mangle]
        unsafe extern "C" fn pynomaly_learn(rows: *const u8, count: usize, cols: usize) -> u32 {
            with(|g| g.learn(rows, count, cols))
        }
    };
    (snapshot) => {
        #[no_mangle]
        extern "C" fn pynomaly_save() -> u64 {
            with(|g| g.save())
        }
        #[no_mangle]
        unsafe extern "C" fn pynomaly_load(state: *const u8, size: usize) -> u32 {
            with(|g| g.load(state, size))
        }
    };
}
