//! Filters as they are compiled: once, and then kept for as long as they are used.

use std::collections::HashMap;
use std::sync::Mutex;

use kontiki_domain::filter::FilterText;
use kontiki_filter::Filter;

use crate::error::{Code, Error, Kind};

/// Compiles a filter.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn compile(filter: &FilterText) -> Result<Filter, Error> {
    let wrong = |error| Error::new(Kind::Invalid, Code::INVALID_FIELD, format!("filter: {error}"));
    crate::filters::compile(filter).map_err(wrong)
}

/// Compiled filters: when half of the limit is new, those that were not used meanwhile go.
#[derive(Debug)]
pub(crate) struct Filters {
    generations: Mutex<[HashMap<FilterText, Filter>; 2]>,
    limit: usize,
}

impl Filters {
    pub(crate) fn new(limit: usize) -> Self {
        Self { generations: Mutex::default(), limit }
    }

    /// The filter, compiled now or before.
    ///
    /// # Errors
    /// It can't be compiled.
    pub(crate) fn compiled(&self, text: &FilterText) -> Result<Filter, Error> {
        let known = |generations: &mut [HashMap<FilterText, Filter>; 2]| {
            let [recent, former] = generations;
            if let Some(filter) = recent.get(text) {
                return Some(filter.clone());
            }
            let (text, filter) = former.remove_entry(text)?;
            recent.insert(text, filter.clone());
            Some(filter)
        };
        if let Some(filter) = known(&mut self.lock()) {
            return Ok(filter);
        }
        let filter = compile(text)?;
        let mut generations = self.lock();
        let [recent, former] = &mut *generations;
        recent.insert(text.clone(), filter.clone());
        if recent.len() >= self.limit.div_ceil(2) {
            *former = std::mem::take(recent);
        }
        Ok(filter)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [HashMap<FilterText, Filter>; 2]> {
        self.generations.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use kontiki_domain::filter::Language;

    use super::*;

    fn text(number: usize) -> FilterText {
        FilterText { language: Language::Cel, text: format!("meta.offset == {number}") }
    }

    #[test]
    fn what_is_used_stays_and_there_are_never_more_than_the_limit() {
        let filters = Filters::new(8);
        for number in 0..100 {
            filters.compiled(&text(0)).expect("it compiles");
            filters.compiled(&text(number)).expect("it compiles");
            let [recent, former] = &*filters.lock();
            assert!(recent.contains_key(&text(0)) || former.contains_key(&text(0)));
            assert!(recent.len() + former.len() <= 8);
        }
    }

    #[test]
    fn what_does_not_compile_says_where() {
        let wrong = FilterText { language: Language::Cel, text: "headers.a ==".to_owned() };
        let error = Filters::new(8).compiled(&wrong).expect_err("it is no expression");
        assert_eq!((error.kind, error.code), (Kind::Invalid, Code::INVALID_FIELD));
        assert!(error.detail.starts_with("filter: "), "{error}");
    }
}
