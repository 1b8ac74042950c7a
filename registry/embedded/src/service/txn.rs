//! `etcdserverpb.KV/Txn`: its operations are counted before any of them is built.
//!
//! Two bytes of a message can be an operation, and an operation takes a hundred times as much in memory. And a
//! transaction within a transaction may have as many operations as its level leaves it, so that etcd's bound on each
//! level lets a transaction of three levels have 70,000.

use std::sync::Arc;

use bytes::Buf;
use etcd_client::proto::{PbKvService, PbTxnRequest, PbTxnResponse};
use tonic::{
    Request, Response, Status,
    codec::{Codec, DecodeBuf, Decoder},
    codegen::BoxFuture,
    server::UnaryService,
};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::{Shared, kv::KvService};
use crate::{
    refusal::Refusal,
    wire::{self, Value},
};

/// Comparisons and operations of a transaction in all: what one level may have, 128 of each and 128 in place of
/// these.
const MOST: usize = 3 * 128;

/// The lists of a transaction, by their tags: what is compared, and what is done then or else.
const LISTS: [u32; 3] = [1, 2, 3];
/// The transaction that an operation is.
const NESTED: u32 = 4;

impl UnaryService<PbTxnRequest> for KvService {
    type Response = PbTxnResponse;
    type Future = BoxFuture<Response<PbTxnResponse>, Status>;

    fn call(&mut self, request: Request<PbTxnRequest>) -> Self::Future {
        let kv = self.clone();
        Box::pin(async move { kv.txn(request).await })
    }
}

/// As [`ProstCodec`](tonic_prost::ProstCodec), for transactions of no more operations than there may be.
pub(super) struct Counted(pub Arc<Shared>);

impl Codec for Counted {
    type Encode = PbTxnResponse;
    type Decode = PbTxnRequest;
    type Encoder = ProstEncoder<PbTxnResponse>;
    type Decoder = CountedDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder { shared: Arc::clone(&self.0), inner: ProstDecoder::default() }
    }
}

pub(super) struct CountedDecoder {
    shared: Arc<Shared>,
    inner: ProstDecoder<PbTxnRequest>,
}

impl Decoder for CountedDecoder {
    type Item = PbTxnRequest;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<PbTxnRequest>, Status> {
        // tonic has all of a message in one piece.
        let mut left = MOST;
        match count(source.chunk(), &mut left) {
            Some(true) => self.inner.decode(source),
            Some(false) => Err(self.shared.refuse(Refusal::TooManyOperations)),
            None => Err(Status::internal("the transaction is no message of protocol buffers")),
        }
    }
}

/// Takes the operations of a transaction from those that are left, each before those within it. Says whether there
/// are enough; none if this is no message.
fn count(mut txn: &[u8], left: &mut usize) -> Option<bool> {
    while !txn.is_empty() {
        let (tag, value) = wire::take(&mut txn)?;
        let Value::Bytes(mut operation) = value else { continue };
        if !LISTS.contains(&tag) {
            continue;
        }
        let Some(fewer) = left.checked_sub(1) else { return Some(false) };
        *left = fewer;
        let is_comparison = tag == LISTS[0];
        while !is_comparison && !operation.is_empty() {
            let (tag, value) = wire::take(&mut operation)?;
            if let Value::Bytes(nested) = value
                && tag == NESTED
                && !count(nested, left)?
            {
                return Some(false);
            }
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbCompare, PbRangeRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp};
    use prost::Message;

    use super::{MOST, count};

    fn operation(request: PbTxnOpRequest) -> PbTxnRequestOp {
        PbTxnRequestOp { request: Some(request) }
    }

    fn get() -> PbTxnRequestOp {
        operation(PbTxnOpRequest::RequestRange(PbRangeRequest { key: b"key".to_vec(), ..Default::default() }))
    }

    fn of(compares: usize, success: Vec<PbTxnRequestOp>, failure: Vec<PbTxnRequestOp>) -> PbTxnRequest {
        PbTxnRequest { compare: vec![PbCompare::default(); compares], success, failure }
    }

    fn left(txn: &PbTxnRequest) -> Option<usize> {
        let mut left = MOST;
        count(&txn.encode_to_vec(), &mut left).unwrap().then_some(left)
    }

    #[test]
    fn a_full_transaction_of_one_level_passes_and_one_operation_more_does_not() {
        assert_eq!(left(&of(128, vec![get(); 128], vec![get(); 128])), Some(0));
        assert_eq!(left(&of(129, vec![get(); 128], vec![get(); 128])), None);
    }

    #[test]
    fn operations_of_every_level_count() {
        let nested = operation(PbTxnOpRequest::RequestTxn(of(1, vec![get(); 2], vec![get(); 3])));
        let twice =
            operation(PbTxnOpRequest::RequestTxn(of(1, vec![nested.clone(); 2], vec![nested.clone()])));
        assert_eq!(left(&of(0, vec![nested; 2], vec![])), Some(MOST - 2 * 7));
        assert_eq!(left(&of(0, vec![], vec![twice])), Some(MOST - (1 + 1 + 3 * 7)));
    }

    #[test]
    fn depth_is_bounded_with_them() {
        // Built by hand: a message of this depth cannot be built of values, nor a deeper one be read into them.
        let mut bytes = Vec::new();
        for _ in 0..5_000 {
            let mut operation = Vec::new();
            crate::wire::put(&mut operation, 4, crate::wire::Value::Bytes(&bytes));
            bytes.clear();
            crate::wire::put(&mut bytes, 2, crate::wire::Value::Bytes(&operation));
        }
        assert_eq!(count(&bytes, &mut MOST.clone()), Some(false));
    }

    #[test]
    fn empty_operations_count_and_fields_of_no_known_kind_hide_none() {
        let empty = [0x12, 0];
        let mut left = 10;
        assert_eq!(
            count(&[0x12, 0, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x4d, 1, 2, 3, 4, 0x12, 0], &mut left),
            Some(true)
        );
        assert_eq!(left, 8);
        assert_eq!(count(&empty.repeat(11), &mut 10), Some(false));
        assert_eq!(count(&[0x4b], &mut 10), None, "a group, which nobody writes any more");
    }
}
