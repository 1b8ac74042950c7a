//! What is asked of this registry and not answered.

use tonic::Status;

/// The services of which any method is answered.
const SERVED: &[&str] = &[
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "grpc.health.v1.Health",
];

/// What an etcd cluster answers and no code of this crate names: users and roles, locks, elections. Methods of
/// the other services are refused where they stand.
const A_CLUSTER_HAS: &[(&str, &[&str])] = &[
    (
        "etcdserverpb.Auth",
        &[
            "AuthEnable",
            "AuthDisable",
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
    ),
    ("v3lockpb.Lock", &["Lock", "Unlock"]),
    ("v3electionpb.Election", &["Campaign", "Proclaim", "Leader", "Observe", "Resign"]),
];

/// A method that an etcd cluster has.
pub(super) fn unimplemented(method: &str) -> Status {
    Status::unimplemented(format!(
        "{method} is not implemented by Leaseway's embedded registry; an etcd cluster has it"
    ))
}

/// A path that nothing here answers: in the words above if an etcd cluster would, else in etcd's own.
pub(super) fn unknown(path: &str) -> Status {
    let Some((service, method)) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/') else {
        return Status::resource_exhausted(format!("malformed method name: {path:?}"));
    };
    let of_a_cluster = A_CLUSTER_HAS.iter().find(|(name, _)| *name == service);
    match of_a_cluster {
        Some((_, methods)) if methods.contains(&method) => unimplemented(method),
        None if !SERVED.contains(&service) => Status::unimplemented(format!("unknown service {service}")),
        _ => Status::unimplemented(format!("unknown method {method} for service {service}")),
    }
}
