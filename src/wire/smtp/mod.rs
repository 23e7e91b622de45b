//! SMTP as its client speaks it: RFC 5321, and the extensions that [`extensions`] names.
//!
//! What a peer or a person says becomes one of these types or an error, and only these types
//! become octets: a line end in an address or a name cannot begin a command of its own.
//!
//! Left out: TURN, VRFY, EXPN, HELP and ORCPT, which a client has no need of.

pub(crate) mod address;
pub(crate) mod command;
pub(crate) mod extensions;
pub(crate) mod reply;

pub(crate) use address::Address;
pub(crate) use reply::Reply;
