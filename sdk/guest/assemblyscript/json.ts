// Just enough JSON for the init block and the config. The host's is well-formed;
// what is not is read as null.

export enum Kind {
  Null,
  Bool,
  Number,
  Text,
  List,
  Object,
}

export class Json {
  kind: Kind = Kind.Null;
  /** A number, or 1 for true. */
  number: f64 = 0;
  text: string = "";
  /** A list's items, or an object's values. */
  items: Json[] = [];
  keys: string[] = [];

  static parse(text: string): Json {
    return new Parser(text).value(0);
  }

  /** The value of an object's key; null of what is not there. */
  get(key: string): Json {
    const i = this.keys.indexOf(key);
    return i < 0 ? new Json() : this.items[i];
  }

  /** The number at an object's key. */
  numberOr(key: string, otherwise: f64): f64 {
    const v = this.get(key);
    return v.kind == Kind.Number ? v.number : otherwise;
  }

  /** The text at an object's key. */
  textOr(key: string, otherwise: string): string {
    const v = this.get(key);
    return v.kind == Kind.Text ? v.text : otherwise;
  }
}

/** A text as JSON. */
export function quote(text: string): string {
  let out = '"';
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 0x22 || c == 0x5c) out += "\\" + text.charAt(i);
    else if (c < 0x20) out += "\\u00" + (c < 0x10 ? "0" : "1") + (c & 15).toString(16);
    else out += text.charAt(i);
  }
  return out + '"';
}

const deepest: i32 = 100;

class Parser {
  private at: i32 = 0;

  constructor(private text: string) {}

  /** The next character that is no white space; 0 at the end. */
  private next(): i32 {
    for (; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at);
      if (c != 0x20 && c != 0x09 && c != 0x0a && c != 0x0d) return c;
    }
    return 0;
  }

  private take(c: i32): bool {
    if (this.next() != c) return false;
    this.at++;
    return true;
  }

  value(depth: i32): Json {
    const v = new Json();
    const c = this.next();
    if (depth > deepest) this.at = this.text.length;
    else if (c == 0x22) {
      v.kind = Kind.Text;
      v.text = this.string();
    } else if (c == 0x7b || c == 0x5b) this.members(v, c == 0x7b, depth);
    else this.word(v);
    return v;
  }

  private members(v: Json, object: bool, depth: i32): void {
    const end = object ? 0x7d : 0x5d;
    v.kind = object ? Kind.Object : Kind.List;
    this.at++;
    while (this.next() != end && this.at < this.text.length) {
      if (object) {
        if (this.next() != 0x22) {
          this.at = this.text.length;
          return;
        }
        v.keys.push(this.string());
        this.take(0x3a);
      }
      v.items.push(this.value(depth + 1));
      if (!this.take(0x2c)) break;
    }
    this.take(end);
  }

  /** A number, true, false or null. */
  private word(v: Json): void {
    const start = this.at;
    for (; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at);
      const letter = c | 0x20;
      if (!(c >= 0x30 && c <= 0x39) && !(letter >= 0x61 && letter <= 0x7a) && c != 0x2b && c != 0x2d && c != 0x2e) break;
    }
    if (this.at == start) this.at = this.text.length;
    const word = this.text.substring(start, this.at);
    if (word == "true" || word == "false") {
      v.kind = Kind.Bool;
      v.number = word == "true" ? 1 : 0;
    } else if (word != "null") {
      v.number = parseFloat(word);
      if (!isNaN(v.number)) v.kind = Kind.Number;
    }
  }

  private string(): string {
    let out = "";
    let start = ++this.at;
    for (; this.at < this.text.length; this.at++) {
      const c = this.text.charCodeAt(this.at);
      if (c == 0x22) break;
      if (c != 0x5c) continue;
      out += this.text.substring(start, this.at++);
      out += this.escape();
      start = this.at + 1;
    }
    out += this.text.substring(start, this.at);
    this.at++;
    return out;
  }

  /** What an escape stands for; it leaves the position at its last character. */
  private escape(): string {
    if (this.at >= this.text.length) return "";
    switch (this.text.charCodeAt(this.at)) {
      case 0x62: return "\b";
      case 0x66: return "\f";
      case 0x6e: return "\n";
      case 0x72: return "\r";
      case 0x74: return "\t";
      case 0x75: {
        const code = <i32>parseInt(this.text.substr(this.at + 1, 4), 16);
        this.at += 4;
        return String.fromCharCode(code);
      }
      default: return this.text.charAt(this.at);
    }
  }
}
