//! Content filters, between the contract and the broker.

use kontiki_broker::Error;
use kontiki_broker::subscriptions::{FilterText, Language};
use kontiki_proto::v1;
use v1::content_filter::Filter;

/// A filter that says nothing is an error: who leaves it out wants everything.
pub(super) fn text(
    field: &str,
    filter: Option<v1::ContentFilter>,
) -> Result<Option<FilterText>, Error> {
    let Some(v1::ContentFilter { filter }) = filter else { return Ok(None) };
    let (language, text) = match filter {
        Some(Filter::Cel(text)) => (Language::Cel, text),
        Some(Filter::PolicyOnHeaders(text)) => (Language::PolicyOnHeaders, text),
        Some(Filter::PolicyOnBody(text)) => (Language::PolicyOnBody, text),
        None => {
            let expected = "cel, policy_on_headers or policy_on_body; leave the filter out for all";
            return Err(Error::invalid(field, "empty", expected));
        }
    };
    Ok(Some(FilterText { language, text }))
}

/// The same, shown.
pub(super) fn shown(filter: Option<FilterText>) -> Option<v1::ContentFilter> {
    let FilterText { language, text } = filter?;
    let filter = match language {
        Language::Cel => Filter::Cel(text),
        Language::PolicyOnHeaders => Filter::PolicyOnHeaders(text),
        Language::PolicyOnBody => Filter::PolicyOnBody(text),
    };
    Some(v1::ContentFilter { filter: Some(filter) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_was_said() {
        for language in [Language::Cel, Language::PolicyOnHeaders, Language::PolicyOnBody] {
            let said = Some(FilterText { language, text: "{}".to_owned() });
            assert_eq!(text("filter", shown(said.clone())), Ok(said));
        }
        assert_eq!(text("filter", None), Ok(None));
        assert!(text("filter", Some(v1::ContentFilter { filter: None })).is_err());
    }
}
