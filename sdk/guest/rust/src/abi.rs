//! The module's side of the plugin ABI, version 1. A module is called by one thread
//! at a time.

use crate::{DType, Detector, Matrix, Setup, Values};
use std::alloc::{alloc, dealloc, Layout};
use std::slice;

const ALIGNMENT: usize = 16;
const MOST_ERROR: usize = 64 << 10;
const OK: u32 = 0;
const FAILED: u32 = 1;

/// A block for the host; null where there is none.
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::from_size_align(size, ALIGNMENT) {
        // The size is never 0: the host does not ask for that.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => std::ptr::null_mut(),
    }
}

/// Takes a block back.
///
/// # Safety
///
/// The block must come from `allocate`, with the same size.
pub unsafe fn release(block: *mut u8, size: usize) {
    if let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) {
        dealloc(block, layout)
    }
}

/// Writes the text of a panic to standard error, which the host logs: the standard
/// library has none on this target.
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod panics {
    #[repr(C)]
    struct Text {
        at: *const u8,
        size: usize,
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        fn fd_write(file: u32, texts: *const Text, count: usize, written: *mut usize) -> u32;
    }

    pub fn tell() {
        std::panic::set_hook(Box::new(|panic| {
            let line = format!("{panic}\n");
            let mut written = 0;
            unsafe { fd_write(2, &Text { at: line.as_ptr(), size: line.len() }, 1, &mut written) };
        }));
    }
}

#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
mod panics {
    pub fn tell() {}
}

/// A module's detector and what the host may still read.
pub struct Guest<D> {
    detector: Option<D>,
    dtype: DType,
    described: Vec<u8>,
    saved: Vec<u8>,
    error: String,
}

// The host's pointers and counts go together, by the ABI.
#[allow(clippy::missing_safety_doc, clippy::new_without_default)]
impl<D: Detector> Guest<D> {
    pub fn new() -> Self {
        panics::tell();
        Guest { detector: None, dtype: D::describe().dtype, described: Vec::new(), saved: Vec::new(), error: String::new() }
    }

    pub fn describe(&mut self) -> u64 {
        self.described = D::describe().json().to_string().into_bytes();
        pack(&self.described)
    }

    pub unsafe fn init(&mut self, block: *const u8, size: usize) -> u32 {
        let detector = Setup::parse(slice::from_raw_parts(block, size)).and_then(D::init);
        let result = detector.map(|d| self.detector = Some(d));
        self.status(result)
    }

    pub unsafe fn score(&mut self, rows: *const u8, count: usize, cols: usize, out: *mut f64) -> u32 {
        let (rows, out) = (self.matrix(rows, count, cols), slice::from_raw_parts_mut(out, count));
        self.call(|d| d.score(rows, out))
    }

    pub unsafe fn explain(&mut self, rows: *const u8, count: usize, cols: usize, out: *mut f64) -> u32 {
        let (rows, out) = (self.matrix(rows, count, cols), slice::from_raw_parts_mut(out, count * (1 + cols)));
        self.call(|d| d.explain(rows, out))
    }

    pub unsafe fn learn(&mut self, rows: *const u8, count: usize, cols: usize) -> u32 {
        let rows = self.matrix(rows, count, cols);
        self.call(|d| d.learn(rows))
    }

    pub fn save(&mut self) -> u64 {
        self.saved = self.detector.as_mut().map_or(Vec::new(), Detector::save);
        pack(&self.saved)
    }

    pub unsafe fn load(&mut self, state: *const u8, size: usize) -> u32 {
        let state = slice::from_raw_parts(state, size);
        self.call(|d| d.load(state))
    }

    pub fn last_error(&self) -> u64 {
        pack(self.error.as_bytes())
    }

    unsafe fn matrix<'a>(&self, at: *const u8, rows: usize, cols: usize) -> Matrix<'a> {
        let n = rows * cols;
        let values = match self.dtype {
            DType::Float32 => Values::Float32(slice::from_raw_parts(at as *const f32, n)),
            DType::Float64 => Values::Float64(slice::from_raw_parts(at as *const f64, n)),
            DType::Int64 => Values::Int64(slice::from_raw_parts(at as *const i64, n)),
        };
        Matrix { rows, cols, values }
    }

    fn call(&mut self, f: impl FnOnce(&mut D) -> Result<(), String>) -> u32 {
        let result = match &mut self.detector {
            Some(detector) => f(detector),
            None => Err("the detector is not initialised".into()),
        };
        self.status(result)
    }

    fn status(&mut self, result: Result<(), String>) -> u32 {
        self.error = match result {
            Ok(()) => return OK,
            Err(message) => message,
        };
        let mut end = self.error.len().min(MOST_ERROR);
        while !self.error.is_char_boundary(end) {
            end -= 1;
        }
        self.error.truncate(end);
        FAILED
    }
}

fn pack(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
}
