// The module's side of the plugin ABI, version 1. A module is called by one thread
// at a time.

import { Matrix, Output, Setup, failure, registered } from "./pynomaly";

const mostError: i32 = 64 << 10;

// What the host may still read.
let described = new ArrayBuffer(0);
let failed = new ArrayBuffer(0);

function pack(bytes: ArrayBuffer, size: i32): u64 {
  return size ? ((<u64>changetype<usize>(bytes)) << 32) | <u64>size : 0;
}

export function pynomaly_abi_v1(): void {}

// The allocator's blocks are aligned to 16 bytes. It aborts where there is no memory.
export function pynomaly_alloc(size: usize): usize {
  return heap.alloc(size);
}

export function pynomaly_free(block: usize, size: usize): void {
  heap.free(block);
}

export function pynomaly_describe(): u64 {
  described = String.UTF8.encode(registered().describe().json());
  return pack(described, described.byteLength);
}

export function pynomaly_init(block: usize, size: i32): u32 {
  const setup = new Setup();
  return setup.read(block, size) && registered().init(setup) ? 0 : 1;
}

export function pynomaly_score(rows: usize, count: i32, cols: i32, out: usize): u32 {
  return registered().score(new Matrix(rows, count, cols), new Output(out)) ? 0 : 1;
}

export function pynomaly_last_error(): u64 {
  failed = String.UTF8.encode(failure());
  return pack(failed, min(failed.byteLength, mostError));
}
