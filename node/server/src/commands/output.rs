//! Answers on the standard output: tables for people, JSON for programs.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::CommandError;

/// One line.
pub(super) fn line(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A JSON document.
pub(super) fn json(value: &Value) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value);
    line(&text.map_err(|error| CommandError::fault(error.to_string()))?)
}

/// Columns with a head, as wide as what is in them.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), CommandError> {
    line(&aligned(head, rows))
}

fn aligned(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let mut widths: Vec<usize> = head.iter().map(String::len).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = std::iter::once(&head).chain(rows).map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Numbers, joined by commas; a dash for none.
pub(super) fn list(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "-".to_owned();
    }
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Puts bytes into an object: as text under their name, or else as base64 under `NAME_base64`.
/// None is null.
pub(super) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), Value::from(text)),
        Some(Err(_)) => {
            let encoded = BASE64.encode(bytes.unwrap_or_default());
            object.insert(format!("{name}_base64"), Value::from(encoded))
        }
    };
}

/// Takes bytes out of an object, as [`put_bytes`] puts them there.
pub(super) fn take_bytes(
    object: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<Vec<u8>>, CommandError> {
    if let Some(encoded) = object.remove(&format!("{name}_base64")) {
        let bytes = encoded.as_str().and_then(|encoded| BASE64.decode(encoded).ok());
        let wrong = || CommandError::usage(format!("{name}_base64 is not base64"));
        return bytes.ok_or_else(wrong).map(Some);
    }
    match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.into_bytes())),
        // Numbers, lists and objects are their JSON text.
        Some(other) => Ok(Some(other.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["1".to_owned(), "long value".to_owned()], vec!["22".into(), "x".into()]];
        assert_eq!(aligned(&["id", "what"], &rows), "id  what\n1   long value\n22  x");
        assert_eq!((list(&[]), list(&[1, 2])), ("-".to_owned(), "1,2".to_owned()));
    }

    #[test]
    fn bytes_go_through_json_and_back() {
        for bytes in [None, Some(&b"text"[..]), Some(&[0xff, 0x00]), Some(b"")] {
            let mut object = Map::new();
            put_bytes(&mut object, "value", bytes);
            let back = take_bytes(&mut object, "value").expect("it was put there");
            assert_eq!(back.as_deref(), bytes);
            assert!(object.is_empty());
        }
        let mut object = Map::from_iter([("key_base64".to_owned(), Value::from("%"))]);
        assert!(take_bytes(&mut object, "key").is_err());
    }
}
