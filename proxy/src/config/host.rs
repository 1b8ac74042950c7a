//! A name by which something of ours may be reached.

/// What such a name looks like.
pub(super) const PATTERN: &str = "^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$";

/// A name, as it stands in a URL: no port, no pattern.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err("is no host name such as registry.internal: no port, no URL, no pattern")
    }
}
