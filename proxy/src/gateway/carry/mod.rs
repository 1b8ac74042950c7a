//! What moves a request's and an answer's bytes: the carriers.

mod pingora;
