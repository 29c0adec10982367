//! A typed [`Error`](crate::v1::Error) inside a gRPC status: packed into `google.rpc.Status`, as
//! other languages' libraries expect it in the trailer `grpc-status-details-bin`.

use bytes::Bytes;
use prost::Message;

use crate::v1::Error;

const TYPE_URL: &str = "type.googleapis.com/kontiki.v1.Error";

/// `google.rpc.Status`, of which only this much is needed.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// A gRPC status of this code that carries the error.
#[must_use]
pub fn status(code: tonic::Code, error: &Error) -> tonic::Status {
    let packed = RpcStatus {
        code: code as i32,
        message: error.message.clone(),
        details: vec![prost_types::Any {
            type_url: TYPE_URL.to_owned(),
            value: error.encode_to_vec().into(),
        }],
    };
    let details = Bytes::from(packed.encode_to_vec());
    tonic::Status::with_details(code, error.message.clone(), details)
}

/// The error that a status carries; `None` where it carries none, or not one of ours.
#[must_use]
pub fn error(status: &tonic::Status) -> Option<Error> {
    let packed = RpcStatus::decode(status.details()).ok()?;
    let any = packed.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
    Error::decode(any.value.as_ref()).ok()
}
