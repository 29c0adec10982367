//! Where records are written, and how.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use kontiki_client::ConsumedRecord;
use serde_json::{Map, Value};

use super::ConsumeArgs;
use crate::commands::CommandError;
use crate::commands::output::put_bytes;

const BUFFER_BYTES: usize = 1 << 20;

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) enum Form {
    /// Values only, nothing between them.
    Bytes,
    /// Values, each with a newline, with the key in front if there is a separator.
    Lines(Option<String>),
    /// One JSON object a line.
    Json,
}

/// See the module.
pub(super) struct Sink {
    form: Form,
    out: BufWriter<Box<dyn Write + Send>>,
    file: Option<(File, String)>,
}

impl Sink {
    pub(super) fn new(args: &ConsumeArgs, json: bool) -> Result<Self, CommandError> {
        let file = match &args.output_file {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                let cant = |error| CommandError::usage(format!("{name} can't be written: {error}"));
                Some((File::create(path).map_err(cant)?, name))
            }
        };
        let out: Box<dyn Write + Send> = match &file {
            Some((file, _)) => Box::new(file.try_clone()?),
            None => Box::new(io::stdout()),
        };
        let form = match (json, &file) {
            (true, _) => Form::Json,
            (false, Some(_)) => Form::Bytes,
            (false, None) => Form::Lines(args.key_separator.clone()),
        };
        Ok(Self { form, out: BufWriter::with_capacity(BUFFER_BYTES, out), file })
    }

    pub(super) fn write(
        &mut self,
        topic: &str,
        partition: u32,
        record: &ConsumedRecord,
    ) -> Result<(), CommandError> {
        let written = write(&mut self.out, &self.form, topic, partition, record);
        written.map_err(|error| self.named(error))
    }

    /// What was written can be seen.
    pub(super) fn flush(&mut self) -> Result<(), CommandError> {
        if self.file.is_some() {
            return Ok(());
        }
        Ok(self.out.flush()?)
    }

    /// Everything is written, also to the disk.
    pub(super) fn finish(mut self) -> Result<(), CommandError> {
        let flushed = self.out.flush();
        flushed.map_err(|error| self.named(error))?;
        if let Some((file, _)) = &self.file
            && file.metadata()?.is_file()
        {
            file.sync_all().map_err(|error| self.named(error))?;
        }
        Ok(())
    }

    fn named(&self, error: io::Error) -> CommandError {
        let error = CommandError::from(error);
        match &self.file {
            Some((_, name)) => error.context(name),
            None => error,
        }
    }
}

/// Writes a record.
pub(in crate::commands) fn write(
    out: &mut impl Write,
    form: &Form,
    topic: &str,
    partition: u32,
    record: &ConsumedRecord,
) -> io::Result<()> {
    let value = record.value.as_deref().unwrap_or_default();
    match form {
        Form::Bytes => out.write_all(value),
        Form::Lines(separator) => {
            if let Some(separator) = separator {
                out.write_all(record.key.as_deref().unwrap_or_default())?;
                out.write_all(separator.as_bytes())?;
            }
            out.write_all(value)?;
            out.write_all(b"\n")
        }
        Form::Json => {
            serde_json::to_writer(&mut *out, &json(topic, partition, record))?;
            out.write_all(b"\n")
        }
    }
}

fn json(topic: &str, partition: u32, record: &ConsumedRecord) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), Value::from(topic));
    object.insert("partition".to_owned(), Value::from(partition));
    object.insert("offset".to_owned(), Value::from(record.offset));
    object.insert("timestamp_ms".to_owned(), Value::from(record.timestamp_ms));
    put_bytes(&mut object, "key", record.key.as_deref());
    put_bytes(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|header| {
        let mut object = Map::new();
        object.insert("name".to_owned(), Value::from(&*header.name_lossy()));
        put_bytes(&mut object, "value", header.value.as_deref());
        Value::Object(object)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use kontiki_client::Header;

    use super::*;

    fn written(form: &Form, record: &ConsumedRecord) -> String {
        let mut out = Vec::new();
        write(&mut out, form, "t", 2, record).expect("memory takes everything");
        String::from_utf8(out).expect("the test writes text")
    }

    #[test]
    fn each_form_has_its_own_frame() {
        let mut record = ConsumedRecord {
            offset: 5,
            timestamp_ms: 6,
            key: Some("k".into()),
            value: Some("v".into()),
            headers: vec![Header::new("h", "x")],
        };
        assert_eq!(written(&Form::Bytes, &record), "v");
        assert_eq!(written(&Form::Lines(None), &record), "v\n");
        assert_eq!(written(&Form::Lines(Some("=".to_owned())), &record), "k=v\n");
        record.key = None;
        record.value = Some(vec![0xff].into());
        let object: Value = serde_json::from_str(&written(&Form::Json, &record)).expect("JSON");
        assert_eq!(object["value_base64"], "/w==");
        assert_eq!((&object["key"], &object["offset"]), (&Value::Null, &Value::from(5)));
        assert_eq!(object["headers"][0]["value"], "x");
    }
}
