import { Matrix, registered } from "./pynomaly";

export function pynomaly_learn(rows: usize, count: i32, cols: i32): u32 {
  return registered().learn(new Matrix(rows, count, cols)) ? 0 : 1;
}
