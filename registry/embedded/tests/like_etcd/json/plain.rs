//! Answers without what is their registry's own, letter by letter otherwise.

use anyhow::{Context, Result};

/// Revisions counted from the first that there was; and no numbers of clusters, members and terms.
pub fn plain(json: &str, base: i64) -> Result<String> {
    let mut json = json.to_owned();
    for name in ["revision", "create_revision", "mod_revision", "compact_revision"] {
        json = with_numbers(&json, name, |number| (number - i128::from(base)).to_string())?;
    }
    for name in ["cluster_id", "member_id", "raft_term"] {
        json = with_numbers(&json, name, |_| "its own".to_owned())?;
    }
    Ok(json)
}

/// The revision of the header that an answer begins with.
pub fn revision(json: &str) -> Option<i64> {
    json.split_once(r#""revision":""#)?.1.split('"').next()?.parse().ok()
}

fn with_numbers(json: &str, name: &str, changed: impl Fn(i128) -> String) -> Result<String> {
    let before = format!(r#""{name}":""#);
    let mut parts = json.split(&before);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('"').context("a string without end")?;
        let number = number.parse().with_context(|| format!("{name} in {json}"))?;
        all.extend([&before, changed(number).as_str(), "\"", rest]);
    }
    Ok(all)
}
