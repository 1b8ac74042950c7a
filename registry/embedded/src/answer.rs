//! The results of writes. They share their records with the store, so that little is done under the registry's lock;
//! the copies for a response are made after it is released.

use etcd_client::proto::{
    PbDeleteResponse, PbKeyValue, PbPutResponse, PbResponseHeader, PbResponseOp, PbTxnOpResponse,
    PbTxnResponse,
};

use crate::{range::Found, store::Record};

#[derive(Debug)]
pub(crate) struct Put {
    pub revision: i64,
    /// What the key was, if that was asked for.
    pub previous: Option<Record>,
}

#[derive(Debug)]
pub(crate) struct Deleted {
    pub revision: i64,
    pub count: usize,
    /// What the keys were, if that was asked for.
    pub previous: Vec<Record>,
}

#[derive(Debug)]
pub(crate) struct Txn {
    pub revision: i64,
    pub succeeded: bool,
    pub parts: Vec<Part>,
}

/// What came of one operation of a transaction.
#[derive(Debug)]
pub(crate) enum Part {
    Found(Found),
    Put(Put),
    Deleted(Deleted),
    Txn(Txn),
}

impl Put {
    pub(crate) fn into_response(self, header: PbResponseHeader) -> PbPutResponse {
        PbPutResponse { header: Some(header), prev_kv: self.previous.as_deref().cloned() }
    }
}

impl Deleted {
    pub(crate) fn into_response(self, header: PbResponseHeader) -> PbDeleteResponse {
        PbDeleteResponse {
            header: Some(header),
            deleted: i64::try_from(self.count).unwrap_or(i64::MAX),
            prev_kvs: self.previous.iter().map(|record| PbKeyValue::clone(record)).collect(),
        }
    }
}

impl Txn {
    pub(crate) fn into_response(self, header: PbResponseHeader) -> PbTxnResponse {
        let responses = self.parts.into_iter().map(Part::into_response).collect();
        PbTxnResponse { header: Some(header), succeeded: self.succeeded, responses }
    }
}

impl Part {
    /// Inside of a transaction a header has a revision alone, and that of a nested one not even that.
    fn into_response(self) -> PbResponseOp {
        let header = |revision| PbResponseHeader { revision, ..PbResponseHeader::default() };
        let response = match self {
            Self::Found(found) => {
                let header = header(found.revision);
                PbTxnOpResponse::ResponseRange(found.into_response(header))
            }
            Self::Put(put) => {
                let header = header(put.revision);
                PbTxnOpResponse::ResponsePut(put.into_response(header))
            }
            Self::Deleted(deleted) => {
                let header = header(deleted.revision);
                PbTxnOpResponse::ResponseDeleteRange(deleted.into_response(header))
            }
            Self::Txn(txn) => PbTxnOpResponse::ResponseTxn(txn.into_response(header(0))),
        };
        PbResponseOp { response: Some(response) }
    }
}
