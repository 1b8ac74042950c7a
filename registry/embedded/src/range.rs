//! Reading keys: what a range request asks for, over what the store holds.

use std::{cmp::Ordering, sync::Arc};

use etcd_client::{
    SortOrder, SortTarget,
    proto::{PbKeyValue, PbRangeRequest, PbRangeResponse, PbResponseHeader},
};

use crate::{
    allowance::Allowance,
    refusal::Refusal,
    span::Span,
    store::{Record, Store},
};

/// What was found. It shares its records with the store, so that it is cheap to take under a lock; copies
/// are made by [`Found::into_response`], which needs none.
#[derive(Debug)]
pub(crate) struct Found {
    /// The newest revision when it was asked.
    pub revision: i64,
    records: Vec<Record>,
    /// How many keys the span holds, whatever filter or limit.
    count: usize,
    more: bool,
    keys_only: bool,
}

/// Checks that the order is one that etcd knows.
pub(crate) fn check_order(request: &PbRangeRequest) -> Result<(), Refusal> {
    order(request).map(|_| ()).ok_or(Refusal::InvalidSortOption)
}

/// Checks that the revision can be read. As in etcd, one that is not positive means the newest.
pub(crate) fn check_revision(store: &Store, request: &PbRangeRequest) -> Result<(), Refusal> {
    if request.revision > 0 { store.check_readable(request.revision) } else { Ok(()) }
}

/// Reads. The request has passed its checks.
pub(crate) fn read(
    store: &Store,
    request: &PbRangeRequest,
    allowance: &mut Allowance,
) -> Result<Found, Refusal> {
    let revision = store.revision_in_view();
    let at = if request.revision > 0 { request.revision } else { revision };
    let order = order(request).unwrap_or(Order::AsStored);
    let limit = usize::try_from(request.limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
    // One more tells whether there are more. To be sorted, all are needed; but as in etcd, where no order is asked
    // for and nothing filtered, it is the first keys that are then sorted.
    let wanted = match order {
        _ if request.count_only => 0,
        Order::AsStored => limit.saturating_add(1),
        Order::By(_, SortOrder::None) if !is_filtered(request) => limit.saturating_add(1),
        Order::By(..) => usize::MAX,
    };

    let mut count = 0;
    let mut records = Vec::new();
    for record in store.range(Span::new(&request.key, &request.range_end), at) {
        allowance.look()?;
        count += 1;
        if records.len() < wanted && is_wanted(record, request) {
            records.push(Arc::clone(record));
        }
    }
    order.sort(&mut records, allowance)?;
    let more = records.len() > limit;
    records.truncate(limit);
    records.iter().try_for_each(|record| match request.keys_only {
        true => allowance.answer_key(&record.key),
        false => allowance.answer(record),
    })?;
    Ok(Found { revision, records, count, more, keys_only: request.keys_only })
}

impl Found {
    pub(crate) fn into_response(self, header: PbResponseHeader) -> PbRangeResponse {
        let copy = |record: &Record| match self.keys_only {
            true => PbKeyValue { key: record.key.clone(), value: Vec::new(), ..**record },
            false => PbKeyValue::clone(record),
        };
        PbRangeResponse {
            header: Some(header),
            kvs: self.records.iter().map(copy).collect(),
            more: self.more,
            count: i64::try_from(self.count).unwrap_or(i64::MAX),
        }
    }
}

fn is_filtered(request: &PbRangeRequest) -> bool {
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    bounds.iter().any(|bound| *bound != 0)
}

fn is_wanted(record: &PbKeyValue, request: &PbRangeRequest) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(record.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(record.create_revision, request.min_create_revision, request.max_create_revision)
}

/// The order of an answer.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// By key, ascending: the store's own.
    AsStored,
    By(SortTarget, SortOrder),
}

/// None if etcd does not know it.
fn order(request: &PbRangeRequest) -> Option<Order> {
    let target = SortTarget::try_from(request.sort_target).ok()?;
    let order = SortOrder::try_from(request.sort_order).ok()?;
    Some(match (target, order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => Order::AsStored,
        (target, order) => Order::By(target, order),
    })
}

impl Order {
    fn sort(self, records: &mut [Record], allowance: &mut Allowance) -> Result<(), Refusal> {
        let Self::By(target, order) = self else { return Ok(()) };
        allowance.sort(records.len(), records.iter().map(|record| compared(record, target)).sum())?;
        match order {
            SortOrder::Descend => records.sort_by(|a, b| compare(b, a, target)),
            _ => records.sort_by(|a, b| compare(a, b, target)),
        }
        Ok(())
    }
}

/// How many bytes of a record one comparison may look at.
fn compared(record: &PbKeyValue, target: SortTarget) -> usize {
    match target {
        SortTarget::Key => record.key.len(),
        SortTarget::Value => record.value.len(),
        SortTarget::Version | SortTarget::Create | SortTarget::Mod => 0,
    }
}

fn compare(a: &PbKeyValue, b: &PbKeyValue, target: SortTarget) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
