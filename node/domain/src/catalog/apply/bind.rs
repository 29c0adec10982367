//! Binds queues and exchanges to exchanges, and takes that back.

use kontiki_storage::batch::WriteBatch;

use super::exchange::check_limit;
use crate::catalog::cluster::BINDINGS_MAX;
use crate::catalog::command::Bind;
use crate::catalog::exchange::check_name;
use crate::catalog::{Binding, BindingId, Catalog, Destination, FeatureLevel, Reply, Route};
use crate::filter::{FILTER_BYTES_MAX, FilterText};
use crate::rejection::{ExchangeRefusal, Rejection};
use crate::stamp::Stamp;

pub(super) fn bind(
    catalog: &mut Catalog,
    stamp: Stamp,
    bind: &Bind,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    let cluster = catalog.founded()?;
    let (limits, level) = (cluster.limits, cluster.feature_level);
    let Bind { route, filter } = bind;
    let route = normal(catalog, route)?;
    match &route.destination {
        Destination::Queue(topic) => {
            if catalog.active_topic(*topic)?.queue.is_none() {
                return Err(Rejection::TopicNotAQueue(*topic));
            }
        }
        Destination::Exchange(name) => {
            check_name(name)?;
            catalog.routes.known(name)?;
        }
    }
    check_filter(&route, filter.as_ref(), level)?;
    if let Some(known) = catalog.routes.binding_of(&route) {
        if known.filter == *filter {
            return Ok(Reply::Rerouted { changed: false, unbound: 0 });
        }
        return Err(ExchangeRefusal::OtherFilter { source_name: route.source }.into());
    }
    if let Destination::Exchange(name) = &route.destination {
        catalog.routes.check_loop(&route.source, name)?;
    }
    let max = limits.bindings_max.unwrap_or(BINDINGS_MAX);
    check_limit("bindings", "bindings_max", catalog.routes.bindings_count(), max)?;
    let last = catalog.counters.last_binding.map_or(0, |last| last.0);
    let id = BindingId(last + 1);
    catalog.counters.last_binding = Some(id);
    let binding = Binding { id, route, filter: filter.clone(), created_ms: stamp.time_ms };
    catalog.put_binding(binding, batch);
    Ok(Reply::Rerouted { changed: true, unbound: 0 })
}

pub(super) fn unbind(
    catalog: &mut Catalog,
    route: &Route,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let route = normal(catalog, route)?;
    let known = catalog.routes.binding_of(&route).map(|binding| binding.id);
    if let Some(id) = known {
        catalog.remove_binding(id, batch);
    }
    Ok(Reply::Rerouted { changed: known.is_some(), unbound: 0 })
}

/// Removes all bindings that lead to a queue or an exchange, and answers how many there were.
pub(super) fn unbind_all_to(
    catalog: &mut Catalog,
    destination: &Destination,
    batch: &mut WriteBatch,
) -> u64 {
    let to = catalog.routes.bindings_to(destination, BindingId(0));
    let to: Vec<BindingId> = to.map(|binding| binding.id).collect();
    let count = u64::try_from(to.len()).unwrap_or(u64::MAX);
    to.into_iter().for_each(|id| catalog.remove_binding(id, batch));
    count
}

fn normal(catalog: &Catalog, route: &Route) -> Result<Route, Rejection> {
    check_name(&route.source)?;
    route.normal(&catalog.routes.known(&route.source)?.kind)
}

fn check_filter(
    route: &Route,
    filter: Option<&FilterText>,
    level: FeatureLevel,
) -> Result<(), Rejection> {
    let Some(filter) = filter else { return Ok(()) };
    if let Destination::Exchange(name) = &route.destination
        && level < FeatureLevel::EXCHANGE_FILTERS
    {
        let needed = FeatureLevel::EXCHANGE_FILTERS;
        let expected = format!(
            "none where the destination is an exchange, until the cluster's feature level, now \
             {level}, is {needed} (raise it when all nodes run a release that speaks it)"
        );
        return Err(Rejection::invalid("filter", format!("one for exchange {name}"), &expected));
    }
    let bytes = filter.text.len();
    if bytes == 0 || bytes > FILTER_BYTES_MAX {
        let expected = format!("1 to {FILTER_BYTES_MAX} bytes");
        return Err(Rejection::invalid("the length of the filter", bytes, &expected));
    }
    Ok(())
}
