//! Messages that are larger than etcd's transport takes.

use tonic::Status;

/// The largest message that etcd's transport takes by default: the largest write, and half a mebibyte.
pub(crate) const MAX_MESSAGE: usize = 2 * 1024 * 1024;

/// What etcd says of a message that its transport does not take, if that is what tonic says here.
pub(super) fn too_large(status: &Status) -> Option<Status> {
    let text = if let Some(sizes) =
        status.message().strip_prefix("Error, decoded message length too large: found ")
    {
        let (found, rest) = sizes.split_once(' ')?;
        let max = rest.strip_prefix("bytes, the limit is: ")?.strip_suffix(" bytes")?;
        format!("grpc: received message larger than max ({found} vs. {max})")
    } else if status.message().starts_with("Error decompressing: size limit") {
        // How much larger is not known: it was not decompressed any further.
        format!("grpc: received message larger than max ({} vs. {MAX_MESSAGE})", MAX_MESSAGE + 1)
    } else {
        return None;
    };
    Some(Status::resource_exhausted(text))
}
