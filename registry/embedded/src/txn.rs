//! Transactions: comparisons choose which operations run; then all of them do, or none.

use std::cmp::Ordering;

use etcd_client::{
    CompareOp,
    proto::{
        PbCompare, PbCompareTarget, PbDeleteRequest, PbKeyValue, PbPutRequest, PbRangeRequest, PbTargetUnion,
        PbTxnOpRequest, PbTxnRequest,
    },
};

use crate::{allowance::Allowance, refusal::Refusal, span::Span, store::Store};

/// The side of a transaction that its comparisons have chosen.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub succeeded: bool,
    pub operations: Vec<Operation>,
}

#[derive(Debug)]
pub(crate) enum Operation {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(Chosen),
}

/// Makes all comparisons, those of nested transactions too: they see the store before any operation.
pub(crate) fn choose(
    store: &Store,
    request: PbTxnRequest,
    allowance: &mut Allowance,
) -> Result<Chosen, Refusal> {
    let succeeded = all_hold(store, &request.compare, allowance)?;
    let side = if succeeded { request.success } else { request.failure };
    let operations = side.into_iter().filter_map(|operation| operation.request);
    let operations = operations.map(|operation| {
        Ok(match operation {
            PbTxnOpRequest::RequestRange(request) => Operation::Range(request),
            PbTxnOpRequest::RequestPut(request) => Operation::Put(request),
            PbTxnOpRequest::RequestDeleteRange(request) => Operation::Delete(request),
            PbTxnOpRequest::RequestTxn(request) => Operation::Txn(choose(store, request, allowance)?),
        })
    });
    Ok(Chosen { succeeded, operations: operations.collect::<Result<_, _>>()? })
}

/// Whether a transaction can only read. As in etcd, a nested transaction counts as a write.
pub(crate) fn is_read_only(request: &PbTxnRequest) -> bool {
    let mut operations = request.success.iter().chain(&request.failure);
    operations.all(|operation| matches!(operation.request, Some(PbTxnOpRequest::RequestRange(_))))
}

impl Operation {
    pub(crate) fn as_put(&self) -> Option<&PbPutRequest> {
        if let Self::Put(request) = self { Some(request) } else { None }
    }

    pub(crate) fn as_range(&self) -> Option<&PbRangeRequest> {
        if let Self::Range(request) = self { Some(request) } else { None }
    }
}

impl Chosen {
    /// Every operation, in the order in which they run, nested ones in their place.
    pub(crate) fn flat(&self) -> Box<dyn Iterator<Item = &Operation> + '_> {
        Box::new(self.operations.iter().flat_map(|operation| match operation {
            Operation::Txn(nested) => nested.flat(),
            other => Box::new(std::iter::once(other)),
        }))
    }
}

fn all_hold(store: &Store, compares: &[PbCompare], allowance: &mut Allowance) -> Result<bool, Refusal> {
    for compare in compares {
        if !holds(store, compare, allowance)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a comparison holds for every key of its range.
fn holds(store: &Store, compare: &PbCompare, allowance: &mut Allowance) -> Result<bool, Refusal> {
    let mut found = store.range(Span::new(&compare.key, &compare.range_end), store.revision()).peekable();
    if found.peek().is_none() {
        // A key that is not there compares as all zeros; its value compares with nothing.
        let is_of_a_value = compare.target == PbCompareTarget::Value as i32;
        return Ok(!is_of_a_value && holds_for(compare, &PbKeyValue::default()));
    }
    for record in found {
        allowance.look()?;
        allowance.compare(record.value.len().min(wanted_value(compare).len()))?;
        if !holds_for(compare, record) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds_for(compare: &PbCompare, record: &PbKeyValue) -> bool {
    let wanted = wanted_number(compare);
    let order = match PbCompareTarget::try_from(compare.target) {
        Ok(PbCompareTarget::Version) => record.version.cmp(&wanted),
        Ok(PbCompareTarget::Create) => record.create_revision.cmp(&wanted),
        Ok(PbCompareTarget::Mod) => record.mod_revision.cmp(&wanted),
        Ok(PbCompareTarget::Lease) => record.lease.cmp(&wanted),
        Ok(PbCompareTarget::Value) => record.value.as_slice().cmp(wanted_value(compare)),
        Err(_) => Ordering::Equal, // as etcd: a target that it does not know is equal
    };
    match CompareOp::try_from(compare.result) {
        Ok(CompareOp::Equal) => order.is_eq(),
        Ok(CompareOp::NotEqual) => order.is_ne(),
        Ok(CompareOp::Greater) => order.is_gt(),
        Ok(CompareOp::Less) => order.is_lt(),
        Err(_) => true, // as etcd: a relation that it does not know holds
    }
}

/// Zero if the comparison carries none for its target, as in etcd.
fn wanted_number(compare: &PbCompare) -> i64 {
    use PbCompareTarget as Target;
    use PbTargetUnion as Wanted;
    match (Target::try_from(compare.target), &compare.target_union) {
        (Ok(Target::Version), Some(Wanted::Version(number)))
        | (Ok(Target::Create), Some(Wanted::CreateRevision(number)))
        | (Ok(Target::Mod), Some(Wanted::ModRevision(number)))
        | (Ok(Target::Lease), Some(Wanted::Lease(number))) => *number,
        _ => 0,
    }
}

/// Empty if the comparison carries none, as in etcd.
fn wanted_value(compare: &PbCompare) -> &[u8] {
    match &compare.target_union {
        Some(PbTargetUnion::Value(value)) => value,
        _ => &[],
    }
}
