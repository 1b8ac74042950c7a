//! How clients come back to the instance that answered them first, as the configuration has it.

use config_reader::key;
use config_reader::kind::Kind;
use serde_json::{Value as Json, json};

use super::{Key, Sticky};
use crate::config::Value;
use crate::config::files::Files;
use crate::config::keys::Visit;
use crate::config::machine::Need;
use crate::config::token::token;

/// How many bytes a key has.
const LEAST: usize = 16;
const MOST: usize = 4096;

impl Sticky {
    pub(super) fn unsaid() -> Self {
        Self { cookie: String::new(), key: None }
    }

    pub(super) fn keys<V: Visit>(&mut self, v: &mut V, files: &Files) {
        let cookie = key("cookie", "the cookie that tells it")
            .required("the name of a cookie, such as lw")
            .example("lw");
        v.key(cookie, token("cookie"), &mut self.cookie);
        let file = key("key_file", "what signs it: a file of 16 bytes or more, the same for all gateways")
            .default("a key of this process")
            .example("/etc/leaseway/sticky.key");
        v.optional(file, KeyFile(files), &mut self.key);
    }
}

/// A key, by the file that it is in.
struct KeyFile<'f>(&'f Files);

impl Kind<Need> for KeyFile<'_> {
    type Value = Key;

    fn read(&self, value: &Value<'_>) -> Option<Key> {
        let bytes = self.0.read(value, MOST, Need::StickyKey)?;
        let key = bytes.trim_ascii_end();
        if key.len() < LEAST {
            value.reject(format_args!(
                "has a key of {} bytes: expected {LEAST} or more, as `head -c 32 /dev/urandom | base64` writes them",
                key.len()
            ));
            return None;
        }
        Some(Key(key.into()))
    }

    /// A secret is not shown.
    fn show(&self, _key: &Key) -> String {
        "***".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^/"})
    }
}
