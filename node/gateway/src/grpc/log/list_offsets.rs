//! `ListOffsets`: finds offsets.

use kontiki_broker::Error;
use kontiki_broker::offsets::{At, Found, Query};
use kontiki_proto::v1;
use kontiki_proto::v1::list_offsets_request::{self, query};
use kontiki_proto::v1::list_offsets_response;
use tonic::Status;

use crate::grpc::deadline::Deadline;
use crate::grpc::{Service, fields};

impl Service {
    pub(super) async fn find_offsets(
        &self,
        request: v1::ListOffsetsRequest,
        deadline: Deadline,
    ) -> Result<v1::ListOffsetsResponse, Status> {
        let found = async {
            let routing = fields::routing(request.routing)?;
            let queries = queries(request.queries)?;
            let names: Vec<_> = queries.iter().map(|q| (q.topic.clone(), q.partition)).collect();
            let found = self.broker.list_offsets(queries, routing);
            let found = deadline.within("ListOffsets", found).await?;
            let results = names.into_iter().zip(found).map(|((topic, partition), found)| {
                result(topic, partition, found.map_err(|error| self.error(error)))
            });
            Ok(v1::ListOffsetsResponse { results: results.collect() })
        };
        found.await.map_err(|error: Error| self.status(error))
    }
}

fn queries(queries: Vec<list_offsets_request::Query>) -> Result<Vec<Query>, Error> {
    fields::count("queries", queries.len())?;
    let query = |(index, query): (usize, list_offsets_request::Query)| {
        let list_offsets_request::Query { topic, partition, at } = query;
        fields::present(format_args!("queries[{index}].topic"), &topic)?;
        let at = match at {
            Some(query::At::Earliest(_)) => At::Earliest,
            Some(query::At::Latest(_)) => At::Latest,
            Some(query::At::TimestampMs(time)) => At::Timestamp(time),
            None => {
                let field = format!("queries[{index}].at");
                return Err(Error::invalid(&field, "absent", "earliest, latest or timestamp_ms"));
            }
        };
        Ok(Query { topic, partition, at })
    };
    queries.into_iter().enumerate().map(query).collect()
}

fn result(
    topic: String,
    partition: u32,
    found: Result<Found, v1::Error>,
) -> list_offsets_response::Result {
    let named = list_offsets_response::Result { topic, partition, ..Default::default() };
    match found {
        Err(error) => list_offsets_response::Result { error: Some(error), ..named },
        Ok(Found { offset, leader_epoch }) => list_offsets_response::Result {
            found: offset.is_some(),
            offset: offset.map_or(0, |(offset, _)| offset),
            timestamp_ms: offset.and_then(|(_, time)| time).unwrap_or_default(),
            leader_epoch,
            ..named
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(topic: &str, at: Option<query::At>) -> list_offsets_request::Query {
        list_offsets_request::Query { topic: topic.to_owned(), partition: 1, at }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let refused = |wrong| queries(wrong).expect_err("it is wrong").detail;
        assert!(refused(vec![]).starts_with("the number of queries is 0"));
        let sound = query("t", Some(query::At::Latest(true)));
        let nameless = query("", Some(query::At::Latest(true)));
        let detail = refused(vec![sound.clone(), nameless]);
        assert!(detail.starts_with("queries[1].topic is empty"), "{detail}");
        let detail = refused(vec![query("t", None)]);
        assert!(detail.starts_with("queries[0].at is absent"), "{detail}");
        assert!(refused(vec![sound; 1_025]).starts_with("the number of queries is 1025"));
    }

    #[test]
    fn all_kinds_of_queries_are_passed_on() {
        let asked =
            [query::At::Earliest(true), query::At::Latest(true), query::At::TimestampMs(-1)]
                .map(|at| query("t", Some(at)));
        let got: Vec<At> =
            queries(asked.to_vec()).expect("sound").into_iter().map(|query| query.at).collect();
        assert_eq!(got, [At::Earliest, At::Latest, At::Timestamp(-1)]);
    }

    #[test]
    fn nothing_found_is_told_from_offset_0() {
        let found = |offset| result("t".to_owned(), 1, Ok(Found { offset, leader_epoch: 3 }));
        let first = found(Some((0, Some(77))));
        assert_eq!((first.found, first.offset, first.timestamp_ms), (true, 0, 77));
        let none = found(None);
        assert_eq!((none.found, none.offset, none.leader_epoch), (false, 0, 3));
        let failed = result("t".to_owned(), 1, Err(v1::Error::default()));
        assert!(failed.error.is_some() && !failed.found);
    }
}
