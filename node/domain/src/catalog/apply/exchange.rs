//! Creates and deletes exchanges.

use kontiki_storage::batch::WriteBatch;

use super::bind;
use crate::catalog::cluster::EXCHANGES_MAX;
use crate::catalog::command::CreateExchange;
use crate::catalog::exchange::{check_name, check_text};
use crate::catalog::{BindingId, Catalog, Destination, Exchange, ExchangeKind, Reply};
use crate::rejection::{ExchangeRefusal, Rejection};
use crate::stamp::Stamp;

pub(super) fn create(
    catalog: &mut Catalog,
    stamp: Stamp,
    create: &CreateExchange,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let limits = catalog.founded()?.limits;
    let CreateExchange { name, kind, alternate, internal } = create;
    check_name(name)?;
    if let Some(alternate) = alternate {
        check_text("alternate exchange", alternate)?;
        if alternate.is_empty() || alternate == name {
            let expected = "the name of another exchange than itself and the default one";
            return Err(Rejection::invalid("alternate exchange", alternate, expected));
        }
    }
    if let ExchangeKind::ConsistentHash { header: Some(header) } = kind {
        check_text("header to hash", header)?;
    }
    if let Some(known) = catalog.routes.exchange(name) {
        check_same(known, create)?;
        return Ok(Reply::Rerouted { changed: false, unbound: 0 });
    }
    let max = limits.exchanges_max.unwrap_or(EXCHANGES_MAX);
    check_limit("exchanges", "exchanges_max", catalog.routes.exchanges_count(), max)?;
    let exchange = Exchange {
        name: name.clone(),
        kind: kind.clone(),
        alternate: alternate.clone(),
        internal: *internal,
        created_ms: stamp.time_ms,
    };
    catalog.put_exchange(exchange, batch);
    Ok(Reply::Rerouted { changed: true, unbound: 0 })
}

/// Refuses another declaration of the same exchange.
fn check_same(known: &Exchange, wanted: &CreateExchange) -> Result<(), Rejection> {
    let named = |alternate: &Option<String>| {
        alternate.as_ref().map_or_else(|| "none".to_owned(), |name| format!("{name:?}"))
    };
    let fields = [
        ("kind", known.kind.to_string(), wanted.kind.to_string()),
        ("alternate exchange", named(&known.alternate), named(&wanted.alternate)),
        ("internal", known.internal.to_string(), wanted.internal.to_string()),
    ];
    let differs = fields.into_iter().find(|(_, current, wanted)| current != wanted);
    let Some((field, current, wanted)) = differs else { return Ok(()) };
    let (name, field) = (known.name.clone(), field.to_owned());
    Err(ExchangeRefusal::Exists { name, field, current, wanted }.into())
}

pub(super) fn check_limit(
    what: &str,
    limit: &str,
    count: usize,
    max: u32,
) -> Result<(), Rejection> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if count < u64::from(max) {
        return Ok(());
    }
    let (what, limit) = (what.to_owned(), limit.to_owned());
    Err(ExchangeRefusal::Limit { what, limit, count, max }.into())
}

pub(super) fn delete(
    catalog: &mut Catalog,
    name: &str,
    if_unused: bool,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    check_name(name)?;
    catalog.routes.known(name)?;
    let from: Vec<BindingId> = catalog.routes.bindings_from(name).map(|one| one.id).collect();
    if if_unused && !from.is_empty() {
        return Err(ExchangeRefusal::InUse { name: name.to_owned() }.into());
    }
    let mut unbound = u64::try_from(from.len()).unwrap_or(u64::MAX);
    from.into_iter().for_each(|id| catalog.remove_binding(id, batch));
    unbound += bind::unbind_all_to(catalog, &Destination::Exchange(name.to_owned()), batch);
    catalog.remove_exchange(name, batch);
    Ok(Reply::Rerouted { changed: true, unbound })
}
