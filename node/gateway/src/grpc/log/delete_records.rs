//! `DeleteRecords`: everything below an offset.

use kontiki_broker::Error;
use kontiki_broker::records::Target;
use kontiki_proto::v1;
use kontiki_proto::v1::{delete_records_request, delete_records_response};
use tonic::Status;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

impl Service {
    pub(super) async fn shorten(
        &self,
        request: v1::DeleteRecordsRequest,
        deadline: Deadline,
    ) -> Result<v1::DeleteRecordsResponse, Status> {
        let deleted = async {
            let targets = targets(request.targets)?;
            let names: Vec<_> = targets.iter().map(|t| (t.topic.clone(), t.partition)).collect();
            let deleted = self.broker.delete_records(targets);
            let deleted = deadline.within("DeleteRecords", deleted).await?;
            let results = names.into_iter().zip(deleted).map(|((topic, partition), start)| {
                result(topic, partition, start.map_err(|error| self.error(error)))
            });
            Ok(v1::DeleteRecordsResponse { results: results.collect() })
        };
        deleted.await.map_err(|error: Error| self.status(error))
    }
}

fn targets(targets: Vec<delete_records_request::Target>) -> Result<Vec<Target>, Error> {
    fields::count("targets", targets.len())?;
    let target = |(index, target): (usize, delete_records_request::Target)| {
        let delete_records_request::Target { topic, partition, before_offset, all } = target;
        fields::present(format_args!("targets[{index}].topic"), &topic)?;
        Ok(Target { topic, partition, before: (!all).then_some(before_offset) })
    };
    targets.into_iter().enumerate().map(target).collect()
}

fn result(
    topic: String,
    partition: u32,
    start: Result<u64, v1::Error>,
) -> delete_records_response::Result {
    let named = delete_records_response::Result { topic, partition, ..Default::default() };
    match start {
        Ok(log_start_offset) => delete_records_response::Result { log_start_offset, ..named },
        Err(error) => delete_records_response::Result { error: Some(error), ..named },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(topic: &str, before_offset: u64, all: bool) -> delete_records_request::Target {
        delete_records_request::Target { topic: topic.to_owned(), partition: 4, before_offset, all }
    }

    #[test]
    fn all_wins_over_an_offset_and_0_is_an_offset() {
        let got = targets(vec![target("t", 5, false), target("t", 5, true), target("t", 0, false)]);
        let got: Vec<_> = got.expect("sound").into_iter().map(|target| target.before).collect();
        assert_eq!(got, [Some(5), None, Some(0)]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let refused = |wrong| targets(wrong).expect_err("it is wrong").detail;
        assert!(refused(vec![]).starts_with("the number of targets is 0"));
        assert!(refused(vec![target("", 1, false)]).starts_with("targets[0].topic is empty"));
    }

    #[test]
    fn results_have_an_offset_or_an_error() {
        assert_eq!(result("t".to_owned(), 4, Ok(9)).log_start_offset, 9);
        assert!(result("t".to_owned(), 4, Err(v1::Error::default())).error.is_some());
    }
}
