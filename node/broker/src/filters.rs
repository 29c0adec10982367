//! Filters and patterns of bindings, subscriptions and redrives, compiled.

use kontiki_domain::filter::{FilterText, Language, PatternSyntax};
use kontiki_filter::{Filter, FilterError, Scope};
use kontiki_records::Header;
use kontiki_routing::Syntax;

/// Compiles a filter.
pub(crate) fn compile(filter: &FilterText) -> Result<Filter, FilterError> {
    match filter.language {
        Language::Cel => Filter::cel(&filter.text),
        Language::PolicyOnHeaders => Filter::policy(&filter.text, Scope::Attributes),
        Language::PolicyOnBody => Filter::policy(&filter.text, Scope::Body),
    }
}

/// How a pattern is read.
pub(crate) fn syntax(written: PatternSyntax) -> Syntax {
    match written {
        PatternSyntax::Amqp => Syntax::Amqp,
        PatternSyntax::Nats => Syntax::Nats,
    }
}

/// Headers by name; those whose name is no text aren't seen.
pub(crate) struct Named<'a>(pub(crate) &'a [Header]);

impl kontiki_filter::Headers for Named<'_> {
    fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a str, &'a [u8])) {
        for header in self.0 {
            if let Ok(name) = std::str::from_utf8(&header.name) {
                see(name, header.value.as_deref().unwrap_or_default());
            }
        }
    }
}

impl kontiki_routing::Headers for Named<'_> {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        kontiki_filter::Headers::visit(self, &mut |name, value| visit(name, value));
    }
}
