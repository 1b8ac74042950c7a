//! A request's or an answer's head.

use anyhow::{Context, Result, bail, ensure};

use super::{Read, is_token, latin1, line};

/// A head: its first line and its fields, as they came. Each byte is a character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The three parts of the first line: method, target and version, or version, status and reason.
    pub start: [String; 3],
    /// Its fields.
    pub fields: Fields,
}

/// Fields in their order, with the case of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let is_it = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.0.iter().filter(is_it).map(|(_, value)| value.as_str()).collect()
    }

    /// The field's value, when it came exactly once.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether it came.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether one of its elements, separated by commas, is this word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        let elements = self.all(name).into_iter().flat_map(|value| value.split(','));
        elements.into_iter().any(|element| element.trim().eq_ignore_ascii_case(word))
    }

    /// Names and values, `Name: value`, of those whose name begins with this.
    pub fn beginning(&self, with: &str) -> Vec<String> {
        let begins =
            |name: &str| name.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        let text = |(name, value): &(String, String)| format!("{name}: {value}");
        self.0.iter().filter(|(name, _)| begins(name)).map(text).collect()
    }

    /// Fields to the empty line that ends them.
    pub(super) fn read(bytes: &[u8]) -> Read<Self> {
        let (mut fields, mut at) = (Vec::new(), 0);
        while let Some((line, length)) = line(&bytes[at..])? {
            at += length;
            if line.is_empty() {
                return Ok(Some((Self(fields), at)));
            }
            fields.push(field(line)?);
        }
        Ok(None)
    }
}

/// RFC 9112, 5.1; RFC 9110, 5.5.
fn field(line: &[u8]) -> Result<(String, String)> {
    let colon = line.iter().position(|&byte| byte == b':');
    let colon = colon.with_context(|| format!("no field: {}", line.escape_ascii()))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    ensure!(is_token(name), "a field's name is no token: {}", line.escape_ascii());
    let is_kept = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    ensure!(value.iter().all(is_kept), "a control byte in a field: {}", line.escape_ascii());
    Ok((latin1(name), latin1(value)))
}

impl Head {
    /// A request's method.
    pub fn method(&self) -> &str {
        &self.start[0]
    }

    /// A request's target.
    pub fn target(&self) -> &str {
        &self.start[1]
    }

    /// An answer's status.
    pub fn status(&self) -> u16 {
        self.start[1].parse().unwrap_or(0)
    }

    /// The value of a field that came exactly once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// A request as an instance may get it, and its length: RFC 9112, 3 and 3.2. Only the origin form reaches one.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn request(bytes: &[u8]) -> Read<Self> {
        let Some((first, length)) = line(bytes)? else { return Ok(None) };
        let start = parts(first)?;
        ensure!(is_token(start[0].as_bytes()), "the method is no token: {start:?}");
        ensure!(start[1].starts_with('/'), "the target is not of the origin form: {start:?}");
        let target = start[1].chars().all(|character| character > ' ' && character != '\u{7f}');
        ensure!(target, "a space or control byte in the target: {start:?}");
        ensure!(start[2] == "HTTP/1.1", "another version: {start:?}");
        let Some((fields, rest)) = Fields::read(&bytes[length..])? else { return Ok(None) };
        let host = fields.get("host").with_context(|| format!("not one Host: {fields:?}"))?;
        ensure!(is_host(host), "no host: {host:?}");
        Ok(Some((Self { start, fields }, length + rest)))
    }

    /// An answer, and its length: RFC 9112, 4. Its version is the test's to judge.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn answer(bytes: &[u8]) -> Read<Self> {
        let Some((first, length)) = line(bytes)? else { return Ok(None) };
        let start = parts(first)?;
        ensure!(start[0] == "HTTP/1.1" || start[0] == "HTTP/1.0", "another version: {start:?}");
        let digits = start[1].len() == 3 && start[1].bytes().all(|byte| byte.is_ascii_digit());
        ensure!(digits && *start[1] >= *"100", "no status: {start:?}");
        let Some((fields, rest)) = Fields::read(&bytes[length..])? else { return Ok(None) };
        Ok(Some((Self { start, fields }, length + rest)))
    }
}

fn parts(line: &[u8]) -> Result<[String; 3]> {
    let text = latin1(line);
    let parts: Vec<_> = text.splitn(3, ' ').map(str::to_owned).collect();
    match <[String; 3]>::try_from(parts) {
        Ok(parts) => Ok(parts),
        Err(_) => bail!("the first line has not three parts: {text:?}"),
    }
}

fn begins_with_hex(text: &str) -> bool {
    text.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// `uri-host [":" port]` of RFC 3986, 3.2.2.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, ""),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=".contains(c);
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_one = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok() || address.starts_with(['v', 'V']),
        None => !host.is_empty() && host.chars().all(is_name) && host.split('%').skip(1).all(begins_with_hex),
    };
    is_one && port.bytes().all(|byte| byte.is_ascii_digit())
}
