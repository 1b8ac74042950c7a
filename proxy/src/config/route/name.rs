//! The name of a route that was given none: what it takes.

use std::fmt::{self, Display};

use openssl::sha::sha256;

use super::{Condition, Match, PathPattern};

/// The longest name, in bytes.
pub(super) const LENGTH: usize = 200;

/// So much of a name that is too long is kept, before a hash of it all.
const KEPT: usize = LENGTH - "~0123456789abcdef".len();

/// What it takes, on one line: `shop.example.com/api`. Those of two that differ do, too.
pub(super) fn of_match(takes: &Match) -> String {
    bounded(Shown(takes).to_string())
}

fn bounded(name: String) -> String {
    if name.len() <= LENGTH {
        return name;
    }
    let hash = u64::from_be_bytes(std::array::from_fn(|at| sha256(name.as_bytes())[at]));
    format!("{}~{hash:016x}", name.chars().take(KEPT).collect::<String>())
}

struct Shown<'m>(&'m Match);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "", &self.0.hosts)?;
        if self.0.path != PathPattern::Any {
            self.0.path.fmt(f)?;
        }
        Further(self.0).fmt(f)
    }
}

impl Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(path) => f.write_str(path),
            Self::Exact(path) => write!(f, "={path}"),
            Self::Regex(expression) => write!(f, "~{}", Quoted(expression.as_str())),
            Self::Service(above) => write!(f, "{above}/{{service}}"),
        }
    }
}

impl Match {
    /// What it asks for beside a host and a path, each after a space.
    pub(crate) fn further(&self) -> impl Display {
        Further(self)
    }
}

struct Further<'m>(&'m Match);

impl Display for Further<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Match { methods, headers, query, cookies, clients, scheme, .. } = self.0;
        list(f, " method=", methods)?;
        let headers: Vec<_> = headers.iter().map(|(name, condition)| (name.as_str(), condition)).collect();
        let [query, cookies] = [query, cookies].map(|list| list.iter().map(|(name, is)| (name.as_str(), is)));
        conditions(f, "header", headers.into_iter())?;
        conditions(f, "query", query)?;
        conditions(f, "cookie", cookies)?;
        list(f, " client=", clients)?;
        scheme.map_or(Ok(()), |scheme| write!(f, " scheme={}", scheme.as_str()))
    }
}

fn list<T: Display>(f: &mut fmt::Formatter<'_>, before: &str, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { before } else { "," })?;
        write!(f, "{item}")?;
    }
    Ok(())
}

fn conditions<'m>(
    f: &mut fmt::Formatter<'_>,
    of: &str,
    conditions: impl Iterator<Item = (&'m str, &'m Condition)>,
) -> fmt::Result {
    for (name, condition) in conditions {
        write!(f, " {of}:{}", Quoted(name))?;
        let (mark, value) = match condition {
            Condition::Present => continue,
            Condition::Absent => {
                f.write_str("!")?;
                continue;
            }
            Condition::Exact(value) => ("=", value.as_str()),
            Condition::Prefix(value) => ("^", value.as_str()),
            Condition::Regex(expression) => ("~", expression.as_str()),
        };
        write!(f, "{mark}{}", Quoted(value))?;
    }
    Ok(())
}

/// Text of ASCII on one line, in quotes where it could be taken for more than one.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        match self.0 {
            word if !word.is_empty() && word.bytes().all(is_word) => f.write_str(word),
            other => write!(f, "\"{}\"", other.escape_default()),
        }
    }
}
