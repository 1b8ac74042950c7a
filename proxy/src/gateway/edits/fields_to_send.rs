//! What carriers let be done to the fields of a head.

use bytes::Bytes;

/// The fields of a head that a carrier is about to send.
pub(in crate::gateway) trait FieldsToSend {
    type Error;

    /// All fields of this name, in small letters, are left out.
    fn remove(&mut self, name: &str);

    /// This one takes the place of all of its name.
    fn set(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Self::Error>;

    /// This one goes beside those of its name.
    fn add(&mut self, name: &Bytes, value: &[u8]) -> Result<(), Self::Error>;
}
