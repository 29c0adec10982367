//! Records out of lines of the standard input.

use std::sync::Arc;

use kontiki_client::{Header, NewRecord};
use serde_json::{Map, Value};

use super::sender::Sender;
use super::{InputArg, ProduceArgs};
use crate::commands::CommandError;
use crate::commands::lines::read_lines;
use crate::commands::output::take_bytes;

/// Sends each line as a record, until the input ends or Ctrl-C is pressed.
pub(super) async fn send(args: &ProduceArgs, sender: &mut Sender) -> Result<(), CommandError> {
    let mut lines = read_lines();
    let headers = args.headers();
    let mut number = 0_u64;
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = &mut interrupt => return Ok(()),
        };
        let Some(line) = line else { return Ok(()) };
        number += 1;
        let line = line.map_err(|error| CommandError::from(error).context("standard input"))?;
        let record = match args.input {
            InputArg::Lines => from_line(sender.topic(), line, args.key_separator.as_deref()),
            InputArg::Json if line.iter().all(u8::is_ascii_whitespace) => continue,
            InputArg::Json => from_json(sender.topic(), &line),
        };
        let mut record = record.map_err(|error| error.context(format!("line {number}")))?;
        record.partition = args.partition.or(record.partition);
        record.headers.extend(headers.iter().cloned());
        sender.send(record).await?;
    }
}

fn from_line(
    topic: Arc<str>,
    mut line: Vec<u8>,
    separator: Option<&str>,
) -> Result<NewRecord, CommandError> {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return Ok(NewRecord::new(topic, line));
    };
    let wanted = separator.as_bytes();
    let at = line.windows(wanted.len()).position(|window| window == wanted).ok_or_else(|| {
        CommandError::usage(format!("there is no {separator:?}, which ends the key"))
    })?;
    let value = line.split_off(at + wanted.len());
    line.truncate(at);
    Ok(NewRecord::new(topic, value).key(line))
}

fn from_json(topic: Arc<str>, line: &[u8]) -> Result<NewRecord, CommandError> {
    let wrong = |what: String| CommandError::usage(what);
    let value: Value = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
    let Value::Object(mut object) = value else {
        return Err(wrong("is not a JSON object".to_owned()));
    };
    let mut record = NewRecord::tombstone(topic);
    record.key = take_bytes(&mut object, "key")?.map(Into::into);
    record.value = take_bytes(&mut object, "value")?.map(Into::into);
    record.headers = headers(object.remove("headers"))?;
    record.partition = match object.remove("partition") {
        None | Some(Value::Null) => None,
        Some(number) => {
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
            Some(number.ok_or_else(|| wrong("partition is not a number from 0".to_owned()))?)
        }
    };
    record.timestamp_ms = match object.remove("timestamp_ms") {
        None | Some(Value::Null) => None,
        Some(number) => Some(
            number
                .as_i64()
                .ok_or_else(|| wrong("timestamp_ms is not a whole number".to_owned()))?,
        ),
    };
    // These are where it was read from.
    object.remove("topic");
    object.remove("offset");
    match object.keys().next() {
        None => Ok(record),
        Some(name) => Err(wrong(format!(
            "{name} is unknown: key, value, headers, partition and timestamp_ms are known"
        ))),
    }
}

/// Headers as a list of names and values, or as an object.
fn headers(value: Option<Value>) -> Result<Vec<Header>, CommandError> {
    let wrong =
        || CommandError::usage("headers are [{\"name\": .., \"value\": ..}, ..] or {name: value}");
    let named = |name: &str, mut object: Map<String, Value>| {
        let value = take_bytes(&mut object, "value")?.map(Into::into);
        Ok(Header { name: name.to_owned().into(), value })
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(all)) => all
            .into_iter()
            .map(|(name, value)| named(&name, Map::from_iter([("value".to_owned(), value)])))
            .collect(),
        Some(Value::Array(all)) => all
            .into_iter()
            .map(|header| {
                let Value::Object(mut header) = header else { return Err(wrong()) };
                let Some(Value::String(name)) = header.remove("name") else { return Err(wrong()) };
                named(&name, header)
            })
            .collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Arc<str> {
        Arc::from("t")
    }

    #[test]
    fn a_line_is_a_value_or_key_and_value() {
        let plain = from_line(topic(), b"a:b".to_vec(), None).expect("plain");
        assert_eq!((plain.key, plain.value), (None, Some("a:b".into())));
        let keyed = from_line(topic(), b"a::b::c".to_vec(), Some("::")).expect("keyed");
        assert_eq!((keyed.key, keyed.value), (Some("a".into()), Some("b::c".into())));
        let error = from_line(topic(), b"ab".to_vec(), Some(":")).expect_err("no separator");
        assert_eq!(error.exit, 2);
    }

    #[test]
    fn a_json_object_has_all_parts_of_a_record() {
        let text = br#"{"topic":"x","offset":4,"key":"k","value_base64":"/wA=","partition":2,
            "timestamp_ms":7,"headers":[{"name":"h","value":null},{"name":"i","value":"v"}]}"#;
        let record = from_json(topic(), text).expect("complete");
        assert_eq!(record.value.as_deref(), Some(&[0xff, 0][..]));
        assert_eq!((record.partition, record.timestamp_ms), (Some(2), Some(7)));
        assert_eq!(record.headers.len(), 2);
        assert_eq!(record.headers[0].value, None);
        let short = from_json(topic(), br#"{"headers":{"a":"b"}}"#).expect("a tombstone");
        assert_eq!((short.value, short.headers.len()), (None, 1));
        for wrong in [&b"[]"[..], b"{", br#"{"vlaue":1}"#, br#"{"partition":-1}"#] {
            assert_eq!(from_json(topic(), wrong).expect_err("is refused").exit, 2);
        }
    }
}
