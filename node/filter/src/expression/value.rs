//! Values of expressions: borrowed from the message or from the compiled tree where that is
//! possible, shared where they were built. A clone never copies content.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

use crate::cost::Budget;
use crate::error::EvaluationError;
use crate::message::Message;

use super::node::Constant;

/// One value.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Shared<'a, str>),
    Bytes(Shared<'a, [u8]>),
    List(List<'a>),
    Map(Dictionary<'a>),
    Type(&'static str),
}

/// Content that is borrowed, or was built on the way.
#[derive(Debug)]
pub(crate) enum Shared<'a, T: ?Sized> {
    Borrowed(&'a T),
    Built(Rc<T>),
}

impl<T: ?Sized> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(content) => Self::Borrowed(content),
            Self::Built(content) => Self::Built(Rc::clone(content)),
        }
    }
}

impl<T: ?Sized> Deref for Shared<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(content) => content,
            Self::Built(content) => content,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum List<'a> {
    Json(&'a [Json]),
    Built(Rc<Vec<Value<'a>>>),
}

#[derive(Debug, Clone)]
pub(crate) enum Dictionary<'a> {
    Json(&'a Map<String, Json>),
    /// Each key once.
    Built(Rc<Vec<(Value<'a>, Value<'a>)>>),
    Headers(&'a Message<'a>),
    Meta(&'a Message<'a>),
}

const META: [&str; 6] = ["topic", "partition", "offset", "timestamp_ms", "priority", "attempts"];

impl<'a> Value<'a> {
    pub(crate) fn from_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(uint)) => Self::Uint(uint),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Shared::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items)),
            Json::Object(object) => Self::Map(Dictionary::Json(object)),
        }
    }

    /// A string, or bytes where it isn't UTF-8.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Shared::Borrowed(text)),
            Err(_) => Self::Bytes(Shared::Borrowed(bytes)),
        }
    }

    pub(crate) fn from_constant(constant: &'a Constant) -> Self {
        match constant {
            Constant::Null => Self::Null,
            Constant::Bool(value) => Self::Bool(*value),
            Constant::Int(value) => Self::Int(*value),
            Constant::Uint(value) => Self::Uint(*value),
            Constant::Double(value) => Self::Double(*value),
            Constant::Text(text) => Self::Text(Shared::Borrowed(text)),
            Constant::Bytes(bytes) => Self::Bytes(Shared::Borrowed(bytes)),
            Constant::Type(name) => Self::Type(name),
        }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(Shared::Built(text.into()))
    }

    pub(crate) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Built(Rc::new(items)))
    }

    /// What CEL calls its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Type(_) => "type",
        }
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(items) => items.len(),
            Self::Built(items) => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items) => items.get(index).map(Value::from_json),
            Self::Built(items) => items.get(index).cloned(),
        }
    }
}

impl<'a> Dictionary<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(object) => object.len(),
            Self::Built(entries) => entries.len(),
            Self::Headers(message) => names(message).len(),
            Self::Meta(_) => META.len(),
        }
    }

    /// Pays for a look at one name.
    pub(crate) fn charge_search(
        &self,
        name: &str,
        budget: &mut Budget,
    ) -> Result<(), EvaluationError> {
        match self {
            Self::Meta(_) => Ok(()),
            Self::Json(object) => budget.charge_order(1, name.len(), object.len()),
            Self::Built(entries) => budget.charge_search(entries.len(), name.len()),
            Self::Headers(message) => budget.charge_search(message.header_names().0, name.len()),
        }
    }

    /// Pays for a look at all keys, or for counting them.
    pub(crate) fn charge_keys(&self, budget: &mut Budget) -> Result<(), EvaluationError> {
        match self {
            Self::Json(_) | Self::Built(_) | Self::Meta(_) => budget.charge(self.len()),
            // They may repeat.
            Self::Headers(message) => {
                let (count, bytes) = message.header_names();
                budget.charge(count)?;
                budget.charge_order(count, bytes, count)
            }
        }
    }

    /// Looks a name up. For [`Dictionary::Built`], see `operators::lookup`.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(object) => object.get(name).map(Value::from_json),
            Self::Headers(message) => message.header(name).map(Value::from_bytes),
            Self::Built(entries) => {
                let is_it = |key: &Value<'_>| matches!(key, Value::Text(key) if **key == *name);
                entries.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value.clone())
            }
            Self::Meta(message) => {
                let meta = message.meta();
                Some(match name {
                    "topic" => Value::Text(Shared::Borrowed(meta.topic)),
                    "partition" => Value::Int(meta.partition.into()),
                    "offset" => Value::Int(i64::try_from(meta.offset).unwrap_or(i64::MAX)),
                    "timestamp_ms" => Value::Int(meta.timestamp_ms),
                    "priority" => Value::Int(meta.priority.into()),
                    "attempts" => Value::Int(meta.attempts.into()),
                    _ => return None,
                })
            }
        }
    }

    /// Its keys, each once.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        let text = |name: &'a str| Value::Text(Shared::Borrowed(name));
        match self {
            Self::Json(object) => object.keys().map(|name| text(name)).collect(),
            Self::Built(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            Self::Headers(message) => names(message).into_iter().map(text).collect(),
            Self::Meta(_) => META.into_iter().map(text).collect(),
        }
    }
}

fn names<'a>(message: &'a Message<'a>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    message.headers().visit(&mut |name, _| {
        names.insert(name);
    });
    names
}
