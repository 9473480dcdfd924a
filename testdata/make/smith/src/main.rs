//! Writes random valid modules. All of their functions end.
//!
//! usage: smith DIRECTORY COUNT [FIRST]
//!
//! The program makes module k from the k-th block of a seeded generator, so it always
//! writes the same modules. FIRST is the first k, by default 0.
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().expect("usage: smith DIRECTORY COUNT");
    let count: u64 = args.next().expect("usage: smith DIRECTORY COUNT").parse().expect("a number");
    let first: u64 = args.next().map_or(0, |a| a.parse().expect("a number"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut written = 0;
    for seed in first.. {
        if written == count {
            break;
        }
        let bytes = random(seed, 3000);
        let config = Config {
            allow_start_export: true,
            bulk_memory_enabled: true,
            reference_types_enabled: true,
            simd_enabled: true,
            multi_value_enabled: true,
            sign_extension_ops_enabled: true,
            saturating_float_to_int_enabled: true,
            exceptions_enabled: false,
            gc_enabled: false,
            memory64_enabled: false,
            relaxed_simd_enabled: false,
            tail_call_enabled: false,
            threads_enabled: false,
            custom_page_sizes_enabled: false,
            wide_arithmetic_enabled: false,
            extended_const_enabled: false,
            shared_everything_threads_enabled: false,
            canonicalize_nans: true,
            export_everything: true,
            max_imports: 0,
            max_memories: 1,
            max_memory32_bytes: 1 << 20,
            max_tables: 2,
            max_table_elements: 500,
            min_funcs: 1,
            max_funcs: 8,
            max_instructions: 200,
            ..Config::default()
        };
        let mut source = Unstructured::new(&bytes);
        let Ok(mut module) = Module::new(config, &mut source) else { continue };
        if module.ensure_termination(2000).is_err() {
            continue;
        }
        let wasm = module.to_bytes();
        if wasm.len() < 300 || wasm.len() > 6000 {
            continue;
        }
        std::fs::write(format!("{directory}/{seed:05}.wasm"), wasm).expect("a file");
        written += 1;
    }
}

/// random returns a block of bytes of splitmix64.
fn random(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out
}
