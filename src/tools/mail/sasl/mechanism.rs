//! Which mechanism to use, of those that a server offers.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    ScramSha256Plus,
    ScramSha256,
    ScramSha1Plus,
    ScramSha1,
    CramMd5,
    Plain,
    Login,
    OauthBearer,
    Xoauth2,
}

/// Strongest first. The last two send the password itself.
const WITH_PASSWORD: [Mechanism; 7] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
];

/// The standard first. Both send the token itself.
const WITH_TOKEN: [Mechanism; 2] = [Mechanism::OauthBearer, Mechanism::Xoauth2];

/// Those offered that can be used, strongest first.
///
/// The second is for a server that does not know the first after all (504), and not for one that
/// has refused its proof: that may be someone in between, who waits for the password itself.
pub(crate) fn choose(
    offered: &[&str],
    user: &str,
    has_channel_binding: bool,
    is_token: bool,
) -> Vec<Mechanism> {
    let candidates: &[Mechanism] = match is_token {
        true => &WITH_TOKEN,
        false => &WITH_PASSWORD,
    };
    // RFC 5802 section 6: who can bind must do so where the server offers it, and a server that
    // supports it must refuse who says that it does not.
    let is_bound = has_channel_binding && offers_plus(offered);
    let is_usable = |mechanism: &Mechanism| {
        let is_allowed = match mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus => is_bound,
            Mechanism::ScramSha256 | Mechanism::ScramSha1 => !is_bound,
            Mechanism::CramMd5
            | Mechanism::Plain
            | Mechanism::Login
            | Mechanism::OauthBearer
            | Mechanism::Xoauth2 => true,
        };
        is_allowed && mechanism.is_offered(offered) && mechanism.carries_user(user)
    };
    candidates.iter().copied().filter(is_usable).collect()
}

/// The server would bind to the channel, and the TLS connection gives nothing to bind to.
pub(crate) fn misses_channel_binding(offered: &[&str], has_channel_binding: bool) -> bool {
    !has_channel_binding && offers_plus(offered)
}

fn offers_plus(offered: &[&str]) -> bool {
    let mut mechanisms = WITH_PASSWORD.iter();
    mechanisms.any(|mechanism| mechanism.is_plus() && mechanism.is_offered(offered))
}

impl Mechanism {
    /// As it stands in EHLO's AUTH and in the AUTH command.
    /// Strongest first.
    pub(crate) fn all() -> impl Iterator<Item = Mechanism> {
        WITH_PASSWORD.into_iter().chain(WITH_TOKEN)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::OauthBearer => "OAUTHBEARER",
            Mechanism::Xoauth2 => "XOAUTH2",
        }
    }

    pub(super) fn is_token(self) -> bool {
        WITH_TOKEN.contains(&self)
    }

    pub(super) fn is_plus(self) -> bool {
        matches!(self, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
    }

    /// Some mechanisms end their parts with control characters, and RFC 4013 section 2.3 prohibits
    /// them all. OAUTHBEARER may leave it to the token to say who it is.
    pub(super) fn carries_user(self, user: &str) -> bool {
        !user.contains(char::is_control) && (!user.is_empty() || self == Mechanism::OauthBearer)
    }

    pub(super) fn carries_authorization_identity(self, identity: &str) -> bool {
        let has_field = match self {
            Mechanism::ScramSha256Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha1
            | Mechanism::Plain
            | Mechanism::OauthBearer => true,
            Mechanism::CramMd5 | Mechanism::Login | Mechanism::Xoauth2 => false,
        };
        has_field && !identity.is_empty() && !identity.contains(char::is_control)
    }

    fn is_offered(self, offered: &[&str]) -> bool {
        let mut names = offered.iter();
        names.any(|name| name.eq_ignore_ascii_case(self.name()))
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "LOGIN PLAIN CRAM-MD5 NTLM XOAUTH2 OAUTHBEARER SCRAM-SHA-1 SCRAM-SHA-256 \
                       SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-512";

    /// What is chosen with a binding or without, and with a password or a token.
    #[track_caller]
    fn check(offered: &str, has_channel_binding: bool, is_token: bool, expected: &str) {
        let offered: Vec<&str> = offered.split_whitespace().collect();
        let chosen = choose(&offered, "ann", has_channel_binding, is_token);
        let names: Vec<&str> = chosen.into_iter().map(Mechanism::name).collect();
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn strongest_first() {
        let rest = "CRAM-MD5 PLAIN LOGIN";
        let unbound = format!("SCRAM-SHA-256 SCRAM-SHA-1 {rest}");
        check(ALL, false, false, &unbound);
        check(ALL, true, true, "OAUTHBEARER XOAUTH2");
        check("xoauth2 plain", false, true, "XOAUTH2");
        check("login Plain", true, false, "PLAIN LOGIN");
        check("GSSAPI NTLM", true, false, "");
        check("", true, true, "");
    }

    #[test]
    fn what_can_be_bound_is_bound() {
        let bound = "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS CRAM-MD5 PLAIN LOGIN";
        check(ALL, true, false, bound);
        let offered = "SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 PLAIN";
        check(offered, true, false, "SCRAM-SHA-1-PLUS PLAIN");
        check(offered, false, false, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN");
        check("SCRAM-SHA-256-PLUS", false, false, "");
        check(
            "SCRAM-SHA-256-PLUS SCRAM-SHA-1",
            true,
            false,
            "SCRAM-SHA-256-PLUS",
        );
        check("SCRAM-SHA-256", true, false, "SCRAM-SHA-256");
    }

    #[test]
    fn a_binding_that_is_missed() {
        for (offered, has_channel_binding, expected) in [
            (&["SCRAM-SHA-256-PLUS", "PLAIN"][..], false, true),
            (&["scram-sha-1-plus"], false, true),
            (&["SCRAM-SHA-256-PLUS"], true, false),
            (&["SCRAM-SHA-256", "PLAIN"], false, false),
        ] {
            let misses = misses_channel_binding(offered, has_channel_binding);
            assert_eq!(misses, expected, "{offered:?}");
        }
    }

    #[test]
    fn user_names() {
        let offered: Vec<&str> = ALL.split_whitespace().collect();
        for user in ["a\0b", "a\u{1}b", "ann\n", "\u{85}"] {
            assert_eq!(choose(&offered, user, true, false), [], "{user:?}");
            assert_eq!(choose(&offered, user, true, true), [], "{user:?}");
        }
        assert_eq!(choose(&offered, "", true, false), []);
        assert_eq!(choose(&offered, "", true, true), [Mechanism::OauthBearer]);
        assert_eq!(choose(&offered, "änn,=", false, false).len(), 5);
    }
}
