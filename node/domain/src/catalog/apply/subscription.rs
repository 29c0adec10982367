//! Creates and deletes durable subscriptions.

use kontiki_storage::batch::WriteBatch;
use kontiki_storage::id::SubscriptionId;

use crate::catalog::command::CreateSubscription;
use crate::catalog::{
    Catalog, PATTERN_BYTES_MAX, Reply, SUBSCRIPTIONS_MAX, Subscription, validate_name,
};
use crate::filter::FILTER_BYTES_MAX;
use crate::rejection::Rejection;
use crate::stamp::Stamp;

pub(super) fn create(
    catalog: &mut Catalog,
    stamp: Stamp,
    create: &CreateSubscription,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    if validate_name(&create.name).is_err() {
        let expected = "1 to 249 of a-z A-Z 0-9 . _ -, but neither . nor ..";
        return Err(Rejection::invalid("subscription", &create.name, expected));
    }
    if let Some(known) = catalog.subscription_named(&create.name) {
        if create.request.is_some() && known.request == create.request {
            return Ok(Reply::SubscriptionCreated { subscription: known.id, existed: true });
        }
        return Err(Rejection::SubscriptionExists(create.name.clone()));
    }
    if create.pattern.len() > PATTERN_BYTES_MAX {
        let expected = format!("at most {PATTERN_BYTES_MAX} bytes");
        return Err(Rejection::invalid("pattern", &create.pattern, &expected));
    }
    let bytes = create.filter.as_ref().map_or(0, |filter| filter.text.len());
    if bytes > FILTER_BYTES_MAX {
        let expected = format!("at most {FILTER_BYTES_MAX}");
        return Err(Rejection::invalid("the length of the filter in bytes", bytes, &expected));
    }
    let count = u32::try_from(catalog.subscriptions.len()).unwrap_or(u32::MAX);
    if count >= SUBSCRIPTIONS_MAX {
        return Err(Rejection::SubscriptionsLimit(count));
    }
    // The version that this command makes: no other one makes the same.
    let subscription = SubscriptionId(catalog.version().0 + 1);
    let row = Subscription {
        id: subscription,
        name: create.name.clone(),
        pattern: create.pattern.clone(),
        syntax: create.syntax,
        filter: create.filter.clone(),
        start: create.start,
        next_partition: catalog.counters.next_partition,
        created_ms: stamp.time_ms,
        request: create.request,
    };
    catalog.put_subscription(row, batch);
    Ok(Reply::SubscriptionCreated { subscription, existed: false })
}

pub(super) fn delete(
    catalog: &mut Catalog,
    name: &str,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    let Some(known) = catalog.subscription_named(name) else {
        let shown = name.chars().take(crate::catalog::NAME_LENGTH_MAX).collect();
        return Err(Rejection::UnknownSubscription(shown));
    };
    let id = known.id;
    catalog.remove_subscription(id, batch);
    Ok(Reply::Done)
}
