//! Gives out producer ids, in ranges, once.

use kontiki_storage::batch::WriteBatch;

use crate::catalog::command::PRODUCER_IDS_MAX;
use crate::catalog::{Catalog, Reply};
use crate::rejection::Rejection;

/// Kafka's producer ids are signed.
const ID_MAX: u64 = i64::MAX.cast_unsigned();

pub(super) fn apply(
    catalog: &mut Catalog,
    count: u32,
    batch: &mut WriteBatch,
) -> Result<Reply, Rejection> {
    catalog.founded()?;
    if !(1..=PRODUCER_IDS_MAX).contains(&count) {
        return Err(Rejection::invalid("count", count, &format!("1 to {PRODUCER_IDS_MAX}")));
    }
    let first = catalog.counters.next_producer;
    let left = (ID_MAX + 1).saturating_sub(first.0);
    if u64::from(count) > left {
        return Err(Rejection::ProducerIdsExhausted { asked: count, left });
    }
    catalog.counters.next_producer.0 += u64::from(count);
    catalog.put_counters(batch);
    Ok(Reply::ProducerIds { first, count })
}
