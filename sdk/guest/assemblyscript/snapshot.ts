import { File, registered } from "./pynomaly";

// What the host may still read.
let saved: ArrayBuffer | null = null;

export function pynomaly_save(): u64 {
  const state = registered().save();
  saved = state;
  if (!state || state.byteLength == 0) return 0;
  return ((<u64>changetype<usize>(state)) << 32) | <u64>state.byteLength;
}

export function pynomaly_load(state: usize, size: i32): u32 {
  return registered().load(new File("", state, size)) ? 0 : 1;
}
