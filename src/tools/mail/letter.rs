//! A message with its envelope, ready to be sent.

use std::path::PathBuf;
use std::sync::Arc;

use super::dialogue::outcome::Fate;
use crate::wire::smtp::Address;

#[derive(Clone)]
pub(super) struct Letter {
    pub(super) from: Address,
    pub(super) recipients: Vec<Address>,
    pub(super) octets: Arc<[u8]>,
    pub(super) message_id: Option<String>,
    /// Where it is kept already.
    pub(super) file: Option<PathBuf>,
    /// Its text is nowhere else.
    pub(super) is_typed: bool,
}

impl Letter {
    /// The same for some of its recipients.
    pub(super) fn for_those(
        &self,
        fates: &[(Address, Fate)],
        is: impl Fn(&Fate) -> bool,
    ) -> Letter {
        let those = fates.iter().filter(|(_, fate)| is(fate));
        Letter {
            recipients: those.map(|(address, _)| address.clone()).collect(),
            ..self.clone()
        }
    }
}
