//! What a table or a filter can't be made of is refused before the catalog is asked: what is in
//! the catalog is followed by every node.

use kontiki_domain::catalog::{Bind, Destination, Exchange, ExchangeKind};
use kontiki_routing::{Declaration, Kind, Table};

use super::compiled::{compiled, declaration, refused};
use crate::error::{Code, Error, Kind as ErrorKind};
use crate::filters;

/// Whether a binding of an exchange of this kind can be followed.
///
/// # Errors
/// A key that is no pattern or no weight, arguments that ask for nothing that can be, or a filter
/// that can't be compiled; with the place in its text.
pub(super) fn check(bind: &Bind, kind: &ExchangeKind) -> Result<(), Error> {
    let source = Exchange {
        name: bind.route.source.clone(),
        kind: kind.clone(),
        alternate: None,
        internal: false,
        created_ms: 0,
    };
    let mut table = Table::new(0);
    table.declare_exchange(&source.name, declaration(&source)).map_err(|error| refused(&error))?;
    if let Destination::Exchange(name) = &bind.route.destination
        && *name != source.name
    {
        let any = Declaration::new(Kind::Fanout);
        table.declare_exchange(name, any).map_err(|error| refused(&error))?;
    }
    let bound = compiled(&bind.route, None, |binding| table.bind(binding));
    bound.map_err(|error| refused(&error))?;
    if let Some(filter) = &bind.filter {
        filters::compile(filter).map_err(|error| {
            Error::new(ErrorKind::Invalid, Code::INVALID_FIELD, format!("filter: {error}"))
        })?;
    }
    Ok(())
}
