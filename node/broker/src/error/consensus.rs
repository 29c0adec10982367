//! What the consensus layer, storage and the batch codec say, as kinds.

use kontiki_domain::codec::Undecodable;
use kontiki_raft::{ProposeError, ReadError};
use kontiki_storage::id::ShardId;

use super::{Code, Error, Kind};

/// How long a client is asked to stay away from a full disk.
const DISK_FULL_RETRY_MS: u32 = 5_000;
/// How long a client is asked to wait when proposals wait already.
const OVERLOADED_RETRY_MS: u32 = 100;

impl Error {
    /// Why a command of this shard was not (surely) applied.
    #[must_use]
    pub fn propose(shard: ShardId, error: &ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => {
                Self::not_leader(&shard.to_string(), leader.map(|replica| replica.node()))
            }
            ProposeError::Overloaded { limit, .. } => {
                Self::throttled("raft.proposals_bytes_max", *limit, OVERLOADED_RETRY_MS)
            }
            ProposeError::DiskFull { .. } => {
                let detail = format!("{error}: delete records or topics, or add disk");
                let error = Self::new(Kind::Unavailable, Code::DISK_FULL, detail);
                Self { retry_after_ms: DISK_FULL_RETRY_MS, ..error }
            }
            ProposeError::TooLarge { .. } => {
                Self::new(Kind::Invalid, Code::BATCH_TOO_LARGE, error.to_string())
            }
            ProposeError::Stopping => Self::stopping(),
            ProposeError::Unknown => Self::outcome_unknown(&format!("the leader of {shard}")),
            ProposeError::Failed { .. } => {
                Self::new(Kind::Unavailable, Code::SHARD_FAILED, error.to_string())
            }
        }
    }

    /// Why a read of this shard can't be served here.
    #[must_use]
    pub fn read(shard: ShardId, error: &ReadError) -> Self {
        match error {
            ReadError::NotLeader { leader } => {
                Self::not_leader(&shard.to_string(), leader.map(|replica| replica.node()))
            }
            ReadError::NoQuorum => {
                let detail = format!("{shard}: {error}; try again when more of its nodes are up");
                Self::new(Kind::Unavailable, Code::NO_LEADER, detail)
            }
            ReadError::Stopped => {
                Self::new(Kind::Unavailable, Code::SHARD_FAILED, format!("{shard}: {error}"))
            }
        }
    }
}

impl From<kontiki_storage::Error> for Error {
    fn from(error: kontiki_storage::Error) -> Self {
        let code = if error.is_corrupt() { Code::CORRUPT } else { Code::STORAGE };
        Self::new(Kind::Internal, code, format!("{error}; nothing wrong was returned"))
    }
}

impl From<kontiki_records::Error> for Error {
    fn from(error: kontiki_records::Error) -> Self {
        let code = if error.is_too_large() {
            Code::BATCH_TOO_LARGE
        } else if error.is_corruption() {
            Code::DAMAGED_BATCH
        } else {
            Code::INVALID_BATCH
        };
        Self::new(Kind::Invalid, code, format!("record batch: {error}"))
    }
}

impl From<Undecodable> for Error {
    fn from(error: Undecodable) -> Self {
        Self::internal(format!("another node's answer: {error}; run one release on all nodes"))
    }
}
