//! The keys under which services register.

/// Where services register, by default.
pub const PREFIX: &str = "/service_registry_discovery/";

/// The key of an instance under [`PREFIX`].
pub fn key(service: &str, instance: &str) -> String {
    format!("{PREFIX}{service}/{instance}")
}
