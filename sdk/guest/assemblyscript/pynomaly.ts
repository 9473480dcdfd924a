// Makes a detector written in AssemblyScript a WebAssembly plugin: a class that
// extends Detector, an object of it given to register, and in the same file
//
//   export * from "./pynomaly/exports";
//   export * from "./pynomaly/explain";  // if it explains itself
//   export * from "./pynomaly/learn";    // if it learns
//   export * from "./pynomaly/snapshot"; // if it saves and loads its state

import { Json, quote } from "./json";
export { Json, Kind } from "./json";

/** What a detector says of itself. */
export class Description {
  algorithm: string = "";
  /** The columns' names in order; null: as the manifest says. */
  features: string[] | null = null;
  higherIsNormal: bool = false;
  /** On the oriented score, where higher is more anomalous; NaN: as the manifest says. */
  threshold: f64 = NaN;
  stateful: bool = false;

  /** dtype, the matrix's type, is float32, float64 or int64. */
  constructor(public name: string, public version: string, public dtype: string) {}

  json(): string {
    const names = this.features;
    let features = "null";
    if (names) {
      const quoted = new Array<string>();
      for (let i = 0; i < names.length; i++) quoted.push(quote(names[i]));
      features = "[" + quoted.join(",") + "]";
    }
    return (
      '{"name":' + quote(this.name) + ',"version":' + quote(this.version) + ',"algorithm":' + quote(this.algorithm) +
      ',"dtype":' + quote(this.dtype) + ',"features":' + features +
      ',"orientation":"' + (this.higherIsNormal ? "higher_is_normal" : "higher_is_anomalous") +
      '","threshold":' + (isFinite(this.threshold) ? this.threshold.toString() : "null") +
      ',"stateful":' + (this.stateful ? "true" : "false") + "}"
    );
  }
}

export class Feature {
  constructor(public name: string, public dtype: string) {}
}

/** A file of the model. Its bytes are gone after init: copy what you need. */
export class File {
  constructor(public name: string, public at: usize, public size: i32) {}

  float64(i: i32): f64 {
    assert(i >= 0 && i < this.size >> 3);
    return load<f64>(this.at + ((<usize>i) << 3));
  }
}

/** What a detector is given before its first rows. */
export class Setup {
  /** The config section of the manifest, an object. */
  config: Json = new Json();
  dtype: string = "";
  features: Feature[] = [];
  files: File[] = [];

  /** The file of a name; null if there is none. */
  file(name: string): File | null {
    for (let i = 0; i < this.files.length; i++) if (this.files[i].name == name) return this.files[i];
    return null;
  }

  /** Reads the block that the host hands a module; it answers false after fail. */
  read(at: usize, size: i32): bool {
    const length = size < 4 ? 0 : load<i32>(at);
    if (size < 4 || length < 0 || length > size - 4) return fail("the init block is malformed: it has " + size.toString() + " bytes");
    const head = Json.parse(String.UTF8.decodeUnsafe(at + 4, length));
    this.config = head.get("config");
    this.dtype = head.textOr("dtype", "");
    const features = head.get("features").items;
    for (let i = 0; i < features.length; i++) {
      this.features.push(new Feature(features[i].textOr("name", ""), features[i].textOr("dtype", "")));
    }
    const files = head.get("files").items;
    for (let i = 0; i < files.length; i++) {
      const name = files[i].textOr("name", "");
      const offset = files[i].numberOr("offset", -1);
      const bytes = files[i].numberOr("size", -1);
      if (offset < 0 || bytes < 0 || offset + bytes > <f64>size) {
        return fail("the init block is malformed: file " + quote(name) + " lies outside it");
      }
      this.files.push(new File(name, at + <usize>offset, <i32>bytes));
    }
    return true;
  }
}

/** rows x cols numbers, row after row, in the described dtype. */
export class Matrix {
  constructor(public at: usize, public rows: i32, public cols: i32) {}

  // @ts-ignore: decorator
  @inline float64(i: i32): f64 { return load<f64>(this.at + ((<usize>i) << 3)); }

  // @ts-ignore: decorator
  @inline float32(i: i32): f32 { return load<f32>(this.at + ((<usize>i) << 2)); }

  // @ts-ignore: decorator
  @inline int64(i: i32): i64 { return load<i64>(this.at + ((<usize>i) << 3)); }
}

/** The places where a detector writes its numbers. */
export class Output {
  constructor(public at: usize) {}

  // @ts-ignore: decorator
  @inline get(i: i32): f64 { return load<f64>(this.at + ((<usize>i) << 3)); }

  // @ts-ignore: decorator
  @inline set(i: i32, value: f64): void { store<f64>(this.at + ((<usize>i) << 3), value); }
}

/**
 * What a plugin's author writes. Where a function cannot do what it is asked, it
 * says return fail("why"); all else answers true.
 */
export abstract class Detector {
  abstract describe(): Description;

  /** Is called once, after describe. */
  abstract init(setup: Setup): bool;

  /** Writes one raw score a row; one that is not finite means that the row cannot be scored. */
  abstract score(rows: Matrix, out: Output): bool;

  /** Writes, for each row, a base value and a contribution of each column to the raw score. */
  explain(rows: Matrix, out: Output): bool { return fail("the detector does not explain itself"); }

  learn(rows: Matrix): bool { return fail("the detector does not learn"); }

  /** The state; null: none. */
  save(): ArrayBuffer | null { return null; }

  /** The state is gone after load: copy what you need. */
  load(state: File): bool { return fail("the detector has no state to load"); }
}

let detector: Detector | null = null;
let error = "";

/** Makes d the module's detector. */
export function register(d: Detector): void {
  detector = d;
}

/** Keeps a message for the host and answers false. */
export function fail(message: string): bool {
  error = message;
  return false;
}

/** The module's detector. */
export function registered(): Detector {
  return assert(detector, "no detector is registered");
}

/** The message of the last failure. */
export function failure(): string {
  return error;
}
