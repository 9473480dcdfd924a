//! Just enough JSON for the init block, the config and the description.

use std::fmt;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut p = Parser { text, at: 0 };
        let value = p.value(0)?;
        p.space();
        if p.at < text.len() {
            return Err(p.unexpected());
        }
        Ok(value)
    }

    /// The value of an object's key.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Json::Number(n) => Some(*n),
            _ => None,
        }
    }

    pub fn string(&self) -> Option<&str> {
        match self {
            Json::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self {
            Json::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// An array's items; none of what is not an array.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }
}

/// Writes JSON text. A number that is not finite has none: it becomes null.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Json::Bool(b) => write!(f, "{}", b),
            Json::Number(n) if n.is_finite() => write!(f, "{:?}", n),
            Json::Null | Json::Number(_) => f.write_str("null"),
            Json::String(s) => quote(s, f),
            Json::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, item)?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (i, (key, value)) in members.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    quote(key, f)?;
                    write!(f, ":{}", value)?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quote(s: &str, f: &mut fmt::Formatter) -> fmt::Result {
    f.write_str("\"")?;
    for c in s.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{}", c)?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{}", c)?,
        }
    }
    f.write_str("\"")
}

/// Values may be nested this deep.
const DEEPEST: usize = 100;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn next(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn unexpected(&self) -> String {
        format!("bad JSON at byte {}", self.at)
    }

    fn space(&mut self) {
        while matches!(self.next(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn take(&mut self, c: u8) -> bool {
        self.space();
        let found = self.next() == c;
        self.at += found as usize;
        found
    }

    fn expect(&mut self, c: u8) -> Result<(), String> {
        if self.take(c) {
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEEPEST {
            return Err("the JSON is nested too deep".into());
        }
        self.space();
        match self.next() {
            b'"' => self.string().map(Json::String),
            b'[' => self.array(depth),
            b'{' => self.object(depth),
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
                    if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.take(b',') {
                self.expect(b']')?;
                return Ok(Json::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut members = Vec::new();
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.expect(b':')?;
            members.push((key, self.value(depth + 1)?));
            if !self.take(b',') {
                self.expect(b'}')?;
                return Ok(Json::Object(members));
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        while matches!(self.next(), b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9') {
            self.at += 1;
        }
        self.text[start..self.at].parse().map(Json::Number).map_err(|_| self.unexpected())
    }

    fn string(&mut self) -> Result<String, String> {
        let mut out = String::new();
        self.expect(b'"')?;
        loop {
            let c = self.text[self.at..].chars().next().ok_or_else(|| self.unexpected())?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let c = self.next();
        self.at += 1;
        Ok(match c {
            b'"' | b'\\' | b'/' => c as char,
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if first >> 10 != 0x36 {
                    return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    return Ok(char::REPLACEMENT_CHARACTER);
                }
                self.at += 2; // the second half of a pair
                let second = self.hex()?;
                char::from_u32(0x10000 + ((first & 0x3FF) << 10 | (second & 0x3FF))).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| self.unexpected())?;
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn reads_and_writes() {
        let text = r#" {"a": [1, -2.5e1, {}, []], "b": "q\"\u00e9\ud83d\ude00\n", "c": null, "d": true} "#;
        let v = Json::parse(text).unwrap();
        assert_eq!(v.get("a").unwrap().items()[1].number(), Some(-25.0));
        assert_eq!(v.get("b").unwrap().string(), Some("q\"\u{e9}\u{1F600}\n"));
        assert_eq!(v.get("c"), Some(&Json::Null));
        assert_eq!(v.get("d").unwrap().bool(), Some(true));
        assert_eq!(v.get("e"), None);
        assert_eq!(Json::parse(&v.to_string()), Ok(v));
    }

    #[test]
    fn refuses() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "[1,]", "{\"a\" 1}", "nul", "\"\\u12\"", "\"\\x\"", "\"", "1 2", "-", "\\", deep.as_str()] {
            assert!(Json::parse(text).is_err(), "{}", text);
        }
    }
}
