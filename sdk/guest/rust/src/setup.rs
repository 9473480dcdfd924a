//! The init block: a length, a JSON object, and the files.

use crate::Json;

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    pub name: String,
    pub dtype: String,
}

/// What a detector is given before its first rows.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// The config section of the manifest, an object.
    pub config: Json,
    pub dtype: String,
    pub features: Vec<Feature>,
    /// The files section, by name.
    pub files: Vec<(String, &'a [u8])>,
}

impl<'a> Setup<'a> {
    /// A setup for tests: an empty config, columns f0, f1 and so on of float64, no files.
    pub fn new(columns: usize) -> Self {
        let feature = |i| Feature { name: format!("f{}", i), dtype: "float64".into() };
        Setup {
            config: Json::Object(Vec::new()),
            dtype: "float64".into(),
            features: (0..columns).map(feature).collect(),
            files: Vec::new(),
        }
    }

    /// The file of a name.
    pub fn file(&self, name: &str) -> Option<&'a [u8]> {
        self.files.iter().find(|(n, _)| n == name).map(|(_, data)| *data)
    }

    /// Reads the block that the host hands a module at init.
    pub fn parse(block: &'a [u8]) -> Result<Self, String> {
        let bad = |what: String| format!("the init block is malformed: {}", what);
        let length = block.get(..4).ok_or_else(|| bad(format!("it has {} bytes", block.len())))?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let text = block[4..].get(..length).ok_or_else(|| bad(format!("its JSON has {} bytes, the block {}", length, block.len())))?;
        let head = std::str::from_utf8(text).map_err(|e| bad(e.to_string())).and_then(|t| Json::parse(t).map_err(bad))?;

        let text = |v: &Json, key: &str| v.get(key).and_then(Json::string).unwrap_or_default().to_string();
        let count = |v: &Json, key: &str| v.get(key).and_then(Json::number).filter(|n| *n >= 0.0).map(|n| n as usize);
        let items = |key: &str| head.get(key).map_or(&[][..], Json::items);
        let mut files = Vec::new();
        for f in items("files") {
            let name = text(f, "name");
            let end = |from: usize| count(f, "size").and_then(|size| from.checked_add(size));
            let data = count(f, "offset").and_then(|from| block.get(from..end(from)?));
            let data = data.ok_or_else(|| bad(format!("file {:?} lies outside it", name)))?;
            files.push((name, data));
        }
        Ok(Setup {
            config: head.get("config").cloned().unwrap_or(Json::Null),
            dtype: text(&head, "dtype"),
            features: items("features").iter().map(|f| Feature { name: text(f, "name"), dtype: text(f, "dtype") }).collect(),
            files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Setup;

    fn block(json: &str, rest: &[u8]) -> Vec<u8> {
        [&(json.len() as u32).to_le_bytes(), json.as_bytes(), rest].concat()
    }

    #[test]
    fn reads() {
        let json =
            r#"{"config":{"k":1},"dtype":"float64","features":[{"name":"x","dtype":"bool"}],"files":[{"name":"f","offset":120,"size":3}]}"#;
        let b = block(json, b"");
        let b = [&b[..], &vec![b'.'; 140 - b.len()]].concat();
        let s = Setup::parse(&b).unwrap();
        assert_eq!(s.config.to_string(), r#"{"k":1.0}"#);
        assert_eq!((s.features[0].name.as_str(), s.features[0].dtype.as_str(), s.dtype.as_str()), ("x", "bool", "float64"));
        assert_eq!((s.file("f").map(<[u8]>::len), s.file("g")), (Some(3), None));
    }

    #[test]
    fn refuses() {
        let outside = block(r#"{"files":[{"name":"f","offset":10,"size":1000}]}"#, b"");
        let before = block(r#"{"files":[{"name":"f","offset":-1,"size":1}]}"#, b"");
        for b in [&b""[..], b"\x09\0\0\0{", &block("{", b""), &block("\"\u{e9}", b""), &outside, &before] {
            assert!(Setup::parse(b).is_err(), "{:?}", b);
        }
    }
}
