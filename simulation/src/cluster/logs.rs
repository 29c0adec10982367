//! What the nodes log goes into the trace, with the name of the node.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as LogEvent, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::trace::{Event, Trace};

/// From now on, on this thread, what is logged is in the trace.
///
/// # Panics
/// If something else takes the logs of this process already.
pub fn capture(trace: Trace) {
    let subscriber = Registry::default().with(Logs { trace });
    tracing::subscriber::set_global_default(subscriber).expect("nobody else takes the logs");
}

struct Logs {
    trace: Trace,
}

/// The name of a host, on the span in which turmoil runs it.
struct HostName(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Logs {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let ours = metadata.target().starts_with("kontiki") && *metadata.level() <= Level::INFO;
        ours || metadata.is_span() && metadata.name() == "node"
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut text = Text { only: Some("name"), text: String::new() };
        attributes.record(&mut text);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(HostName(text.text));
        }
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {}

    fn on_event(&self, event: &LogEvent<'_>, context: Context<'_, S>) {
        let host = context.event_scope(event).and_then(|scope| {
            scope
                .from_root()
                .find_map(|span| span.extensions().get::<HostName>().map(|name| name.0.clone()))
        });
        let mut text = Text { only: None, text: event.metadata().level().to_string() };
        event.record(&mut text);
        self.trace.add(Event::Log { node: host.unwrap_or_default(), text: text.text });
    }
}

struct Text {
    only: Option<&'static str>,
    text: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.only {
            Some(only) if only == field.name() => value.clone_into(&mut self.text),
            Some(_) => {}
            None => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if self.only.is_some() {
            return;
        }
        // Writing into a string can't fail.
        let _ = match field.name() {
            "message" => write!(self.text, " {value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}
