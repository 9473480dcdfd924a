import { Matrix, Output, registered } from "./pynomaly";

export function pynomaly_explain(rows: usize, count: i32, cols: i32, out: usize): u32 {
  return registered().explain(new Matrix(rows, count, cols), new Output(out)) ? 0 : 1;
}
