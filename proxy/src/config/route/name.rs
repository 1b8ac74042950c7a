//! The name of a route that was given none: what it takes.

use std::fmt::{self, Display, Write as _};

use openssl::sha::sha256;

use super::{Action, Condition, Match, PathPattern, ServicePattern};

/// The longest name, in bytes.
pub(super) const LENGTH: usize = 200;

/// So much of a name that is too long is kept, before a hash of it all.
const KEPT: usize = LENGTH - "~0123456789abcdef".len();

/// What it takes, on one line: `shop.example.com/api`. The values that a header, a parameter or a cookie must have are not
/// in it: they may be secrets, and a name is in logs, in metrics, and where `{route}` stands. So two that differ may have
/// the same: see [`numbered`].
pub(super) fn derived(takes: &Match, action: &Action) -> String {
    let mut name = String::new();
    // Into a string, that cannot fail.
    let _ = write_name(&mut name, takes, action);
    match name.trim_start() {
        "" => "*".to_owned(),
        name => bounded(name),
    }
}

fn write_name(to: &mut String, takes: &Match, action: &Action) -> fmt::Result {
    write!(to, "{}", Listed("", &takes.hosts))?;
    if takes.path != PathPattern::Any {
        write!(to, "{}", takes.path)?;
    }
    if let Action::ForwardByPath(allowed) = action {
        write!(to, "{}", Listed(" allowed=", &allowed.patterns))?;
    }
    write!(to, "{}", Further { takes, with_values: false })
}

fn bounded(name: &str) -> String {
    if name.len() <= LENGTH {
        return name.to_owned();
    }
    let hash = u64::from_be_bytes(std::array::from_fn(|at| sha256(name.as_bytes())[at]));
    format!("{}~{hash:016x}", name.chars().take(KEPT).collect::<String>())
}

/// The name of the second, third, ... of those whose names would be the same. A number says nothing of a secret, as a
/// hash would of one that can be guessed.
pub(super) fn numbered(name: &str, number: usize) -> String {
    let number = format!(" #{number}");
    let kept = name.chars().take(LENGTH - number.len());
    kept.chain(number.chars()).collect()
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
        Further { takes: self, with_values: true }
    }
}

struct Further<'m> {
    takes: &'m Match,
    with_values: bool,
}

impl Display for Further<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Match { methods, headers, query, cookies, clients, scheme, client_cert, .. } = self.takes;
        Listed(" method=", methods).fmt(f)?;
        let headers: Vec<_> = headers.iter().map(|(name, condition)| (name.as_str(), condition)).collect();
        let [query, cookies] = [query, cookies].map(|list| list.iter().map(|(name, is)| (name.as_str(), is)));
        self.conditions(f, "header", headers.into_iter())?;
        self.conditions(f, "query", query)?;
        self.conditions(f, "cookie", cookies)?;
        Listed(" client=", clients).fmt(f)?;
        scheme.map_or(Ok(()), |scheme| write!(f, " scheme={}", scheme.as_str()))?;
        client_cert.as_ref().map_or(Ok(()), |wanted| Listed(" client_cert=", &wanted.san).fmt(f))
    }
}

impl Further<'_> {
    fn conditions<'m>(
        &self,
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
            if self.with_values {
                write!(f, "{mark}{}", Quoted(value))?;
            }
        }
        Ok(())
    }
}

/// What stands before them, if there are any, and commas between them.
struct Listed<'m, T>(&'static str, &'m [T]);

impl<T: Display> Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(before, items) = self;
        for (index, item) in items.iter().enumerate() {
            f.write_str(if index == 0 { before } else { "," })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => Quoted(name).fmt(f),
            Self::Prefix(prefix) if prefix.is_empty() => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{}*", Quoted(prefix)),
        }
    }
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
