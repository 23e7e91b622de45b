//! Variables and aliases.

use std::collections::BTreeMap;

use crate::tool::Status;

#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    /// `$!`
    pub(crate) last_background: Option<u32>,
}

impl Scope {
    /// The value of `$NAME`: a variable of the shell, else of the environment.
    pub(super) fn value(
        &self,
        name: &str,
        status: Status,
        script: &str,
        arguments: &[String],
    ) -> Option<String> {
        match name {
            "?" => Some(status.0.to_string()),
            "!" => self.last_background.map(|id| id.to_string()),
            "#" => Some(arguments.len().to_string()),
            "$" => Some(std::process::id().to_string()),
            "0" => Some(script.to_owned()),
            _ => match name.parse::<usize>() {
                Ok(number) => arguments.get(number.checked_sub(1)?).cloned(),
                Err(_) => self
                    .variables
                    .get(name)
                    .cloned()
                    .or_else(|| std::env::var(name).ok()),
            },
        }
    }

    pub(super) fn alias(&self, name: &str) -> Option<Vec<String>> {
        self.aliases.get(name).cloned()
    }

    pub(super) fn alias_names(&self) -> Vec<String> {
        self.aliases.keys().cloned().collect()
    }
}
