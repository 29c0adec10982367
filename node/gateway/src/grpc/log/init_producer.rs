//! `InitProducer`: ids and epochs for idempotent producers.

use kontiki_broker::Error;
use kontiki_proto::v1;
use tonic::Status;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

impl Service {
    pub(super) async fn give_producer(
        &self,
        request: v1::InitProducerRequest,
        deadline: Deadline,
    ) -> Result<v1::InitProducerResponse, Status> {
        let given = async {
            let current = request.current.map(|current| known(&current)).transpose()?;
            deadline.within("InitProducer", self.broker.init_producer(current)).await
        };
        let (producer_id, producer_epoch) = given.await.map_err(|error| self.status(error))?;
        Ok(v1::InitProducerResponse { producer_id, producer_epoch })
    }
}

/// Id and epoch of a producer; where its sequence stands doesn't matter here.
fn known(current: &v1::ProducerSequence) -> Result<(u64, u32), Error> {
    let id = fields::fits("current.producer_id", current.producer_id, i64::MAX)?;
    let epoch = fields::fits("current.producer_epoch", current.producer_epoch, i16::MAX)?;
    Ok((id.unsigned_abs(), u32::from(epoch.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_epochs_have_to_fit_a_batch() {
        let current = |producer_id, producer_epoch| {
            known(&v1::ProducerSequence { producer_id, producer_epoch, base_sequence: u32::MAX })
        };
        assert_eq!(current(5, 32_767), Ok((5, 32_767)));
        let error = current(5, 32_768).expect_err("too large");
        assert!(error.detail.starts_with("current.producer_epoch is 32768"), "{error}");
        let error = current(1 << 63, 0).expect_err("too large");
        assert!(error.detail.starts_with("current.producer_id is"), "{error}");
    }
}
