//! Where instances stand among a service's endpoints, by their tags.

use std::sync::{Arc, Weak};

use super::secret::Tag;
use crate::directory::Endpoints;

/// Where instances stand among the endpoints of one moment. It takes some 60 bytes for each of them.
#[derive(Debug)]
pub(super) struct Places {
    /// The endpoints. They need not stay for this; and as long as this is there, no others have their address.
    of: Weak<Endpoints>,
    /// By the names of the instances, as endpoints are.
    tags: Box<[(Arc<str>, Tag)]>,
    /// By tag.
    places: Box<[(Tag, u32)]>,
}

impl Places {
    /// `before`: those of earlier endpoints, most of which are still there. Only the others need `tag`, which takes a
    /// microsecond or two for each: with an instance of ten thousand gone, all is done in a few milliseconds.
    pub(super) fn new(
        endpoints: &Arc<Endpoints>,
        before: Option<&Self>,
        tag: impl Fn(&str) -> Option<Tag>,
    ) -> Self {
        let known = |instance: &Arc<str>| {
            let tag = before.and_then(|before| before.tag(instance)).or_else(|| tag(instance));
            Some((instance.clone(), tag?))
        };
        let instances = endpoints.entries().iter().map(|entry| &entry.endpoint.instance);
        let (mut tags, mut places) = (Vec::new(), Vec::new());
        for (place, known) in (0..).zip(instances.map(known)) {
            let Some((instance, tag)) = known else { continue };
            tags.push((instance, tag));
            places.push((tag, place));
        }
        places.sort_unstable();
        Self { of: Arc::downgrade(endpoints), tags: tags.into(), places: places.into() }
    }

    /// Whether the endpoints are these.
    pub(super) fn are_of(&self, endpoints: &Arc<Endpoints>) -> bool {
        std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(endpoints))
    }

    /// Where the instance of this tag stands. None: there is none.
    pub(super) fn get(&self, tag: Tag) -> Option<usize> {
        let found = self.places.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        self.places.get(found).map(|(_, place)| *place as usize)
    }

    fn tag(&self, instance: &str) -> Option<Tag> {
        let found = self.tags.binary_search_by(|(known, _)| (**known).cmp(instance)).ok()?;
        self.tags.get(found).map(|(_, tag)| *tag)
    }
}
