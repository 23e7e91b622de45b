//! Whether DNSSEC vouches for the certificate of an exchanger: DANE for SMTP (RFC 7672).
//!
//! Left out: an authority of which DNS has the key alone (2 1 0) and the server shows nothing.

use sha2::{Digest, Sha256, Sha512};

use crate::net::dns::outcome::{Failure, Outcome};
use crate::net::tls::refusal;
use crate::net::tls::trust::leads_to;
use crate::wire::certificate::Certificate;
use crate::wire::dns::name::{self, Name};
use crate::wire::dns::record::{Data, Tlsa};

/// RFC 7218 section 2 has the names.
const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;
const CERT: u8 = 0;
const SPKI: u8 = 1;
const FULL: u8 = 0;
const SHA2_256: u8 = 1;
const SHA2_512: u8 = 2;

/// What the TLSA records of an exchanger ask of a connection to it, before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// TLS is used if it is offered, by whomever.
    None,
    /// RFC 7672 section 2.2: records that nobody can use still say that there is TLS.
    Encrypted,
    /// The usable ones; never empty.
    Authenticated(Vec<Tlsa>),
    /// Section 2.1.2: an attacker who can suppress the records must not win, so that there is no
    /// delivery to this exchanger now.
    Unknown(Failure),
}

/// What is asked of a certificate.
pub(crate) struct Demand<'a> {
    /// Usable ones, of which one that matches is enough.
    records: &'a [Tlsa],
    names: &'a [String],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Verdict {
    #[error("DANE: the certificate is the one that DNS has")]
    Matched,
    #[error("DANE: the certificate is by the authority that DNS has")]
    Certified,
    #[error("DANE: the certificate is not the one that DNS has")]
    Mismatched,
    #[error("DANE: the certificate is by the authority that DNS has, but {0}")]
    Refused(refusal::Verdict),
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Verdict::Matched | Verdict::Certified)
    }
}

/// The name of the TLSA records of an exchanger, RFC 6698 section 3.
pub(crate) fn tlsa_name(exchanger: &Name, port: u16) -> Result<Name, name::Error> {
    exchanger.prefixed(&format!("_{port}._tcp"))
}

impl Policy {
    /// By what is found under the [name](tlsa_name) of an exchanger whose addresses are authentic.
    pub(crate) fn of(tlsa: &Outcome) -> Policy {
        let found = match tlsa {
            Outcome::Found(found) if found.is_authentic => found,
            Outcome::Found(_) | Outcome::NoSuchName(_) | Outcome::NoData { .. } => {
                return Policy::None;
            }
            Outcome::Failed(failure) => return Policy::Unknown(*failure),
        };
        let records = found.data.iter().filter_map(|data| match data {
            Data::Tlsa(record) if is_usable(record) => Some(record.clone()),
            _ => None,
        });
        let mut records: Vec<Tlsa> = records.collect();
        keep_strongest(&mut records);
        match records.is_empty() {
            true => Policy::Encrypted,
            false => Policy::Authenticated(records),
        }
    }

    /// `names` are those that the certificate may have if it is by an authority.
    pub(crate) fn demand<'a>(&'a self, names: &'a [String]) -> Option<Demand<'a>> {
        match self {
            Policy::Authenticated(records) => Some(Demand { records, names }),
            Policy::None | Policy::Encrypted | Policy::Unknown(_) => None,
        }
    }
}

impl Demand<'_> {
    /// Of what a server has shown, in DER and its own certificate first.
    ///
    /// Of the host itself (DANE-EE) neither the names matter nor the dates, section 3.1.1. By an
    /// authority (DANE-TA) both do, section 3.1.2.
    pub(crate) fn judge(&self, chain: &[Vec<u8>]) -> Verdict {
        if chain.first().is_some_and(|own| self.has(DANE_EE, own)) {
            return Verdict::Matched;
        }
        // RFC 7671 section 5.2.3: what is in DNS in full need not be shown.
        let is_in_full = |record: &&Tlsa| {
            (record.usage, record.selector) == (DANE_TA, CERT) && record.matching_type == FULL
        };
        let in_full = self.records.iter().filter(is_in_full);
        let in_full = in_full.map(|record| record.data.clone());
        let shown = chain.iter().filter(|shown| self.has(DANE_TA, shown));
        let anchors: Vec<Vec<u8>> = shown.cloned().chain(in_full).collect();
        match anchors.is_empty() {
            true => Verdict::Mismatched,
            false => match leads_to(&anchors, chain, self.names) {
                Ok(()) => Verdict::Certified,
                Err(verdict) if verdict.is_about_issuer() => Verdict::Mismatched,
                Err(verdict) => Verdict::Refused(verdict),
            },
        }
    }

    fn has(&self, usage: u8, certificate: &[u8]) -> bool {
        let parsed = Certificate::parse(certificate);
        let key = parsed.map(|parsed| parsed.public_key_info).ok();
        let mut records = self.records.iter().filter(|record| record.usage == usage);
        records.any(|record| match (record.selector, &key) {
            (CERT, _) => record.is_of(certificate),
            (SPKI, Some(key)) => record.is_of(key),
            _ => false,
        })
    }
}

/// RFC 7672 section 3.1: without PKIX-TA(0) and PKIX-EE(1), and with digests of their length.
fn is_usable(record: &Tlsa) -> bool {
    let is_long_enough = match record.matching_type {
        FULL if record.selector == CERT => Certificate::parse(&record.data).is_ok(),
        FULL => !record.data.is_empty(),
        SHA2_256 => record.data.len() == 32,
        SHA2_512 => record.data.len() == 64,
        _ => false,
    };
    let is_for_mail = matches!(record.usage, DANE_TA | DANE_EE);
    is_for_mail && matches!(record.selector, CERT | SPKI) && is_long_enough
}

/// RFC 7671 section 9: where there are digests of several strengths, the strongest count alone.
/// What is there in full stays.
fn keep_strongest(records: &mut Vec<Tlsa>) {
    let strong = records
        .iter()
        .filter(|record| record.matching_type == SHA2_512);
    let strong: Vec<_> = strong.map(Tlsa::of_what).collect();
    records
        .retain(|record| record.matching_type != SHA2_256 || !strong.contains(&record.of_what()));
}

impl Tlsa {
    fn of_what(&self) -> (u8, u8) {
        (self.usage, self.selector)
    }

    fn is_of(&self, selected: &[u8]) -> bool {
        match self.matching_type {
            FULL => self.data == selected,
            SHA2_256 => self.data[..] == Sha256::digest(selected)[..],
            SHA2_512 => self.data[..] == Sha512::digest(selected)[..],
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::net::dns::outcome::Found;
    use crate::wire::certificate::example;

    /// By `openssl dgst`, of the certificate and of its public key info.
    const CERT_SHA2_256: &str = "14dbef39987408fe063220bec59ff700818ae57c5e3884725b43d9e41b90b3e0";
    const SPKI_SHA2_256: &str = "6c99a14083dc18f9a05f0447f69600752c2adddd1fe620faec3936cd6e98b216";
    const CERT_SHA2_512: &str = "a0b50e9031fb65ffa855ec5602c5f2777012178edca58707a0f43585c4e2b2aa\
        ca7c2836ce6b6ae743afd0cb8f3c21acbf67d14ebe6404231211ba5966944bcb";
    const SPKI_SHA2_512: &str = "17df883e0d3d539fcdb27d2455b4831bfed139845765b0b721576fc31cbdbaad\
        885807a81177f4b64a175be0115249dcd7e78be231db59cc62057618c0e17a8b";
    const SPKI_FULL: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200046e0df897b7a7\
        d7a2ee132f419a66bc4d5a7f0897ee7e9b6d283052c0aa6b8edeb9f00be8a4559151f04b3974f956932725\
        996702451e1c21e50a693f5ae51938";

    fn record(fields: (u8, u8, u8), hex: &str) -> Tlsa {
        let (usage, selector, matching_type) = fields;
        Tlsa {
            usage,
            selector,
            matching_type,
            data: example::from_hex(hex),
        }
    }

    fn verdict(records: &[Tlsa]) -> Verdict {
        let names = &[];
        Demand { records, names }.judge(&[example::octets()])
    }

    /// It matches; with another octet, selector or usage it does not.
    #[track_caller]
    fn check_matches(selector: u8, matching_type: u8, hex: &str) {
        let tlsa = record((3, selector, matching_type), hex);
        assert!(is_usable(&tlsa));
        assert_eq!(verdict(slice::from_ref(&tlsa)), Verdict::Matched);
        let mut changed = tlsa.clone();
        changed.data[0] ^= 1;
        assert_eq!(verdict(&[changed.clone()]), Verdict::Mismatched);
        assert_eq!(verdict(&[changed.clone(), tlsa]), Verdict::Matched);
        let other = record((3, 1 - selector, matching_type), hex);
        assert_eq!(verdict(&[other]), Verdict::Mismatched);
    }

    #[test]
    fn what_matches() {
        check_matches(0, 1, CERT_SHA2_256);
        check_matches(1, 1, SPKI_SHA2_256);
        check_matches(0, 2, CERT_SHA2_512);
        check_matches(1, 2, SPKI_SHA2_512);
        check_matches(1, 0, SPKI_FULL);
        let octets = example::octets();
        let mut full = record((3, 0, 0), "");
        full.data = octets;
        assert_eq!(verdict(&[full]), Verdict::Matched);
    }

    #[test]
    fn what_nobody_can_use() {
        for fields in [
            (0, 1, 1),
            (1, 1, 1),
            (4, 1, 1),
            (3, 2, 1),
            (3, 1, 3),
            (3, 1, 2),
        ] {
            let tlsa = record(fields, SPKI_SHA2_256);
            assert!(!is_usable(&tlsa), "{fields:?}");
            assert_eq!(verdict(&[tlsa]), Verdict::Mismatched, "{fields:?}");
        }
        assert!(!is_usable(&record((3, 1, 0), "")));
        assert!(!is_usable(&record((3, 1, 1), &SPKI_SHA2_256[2..])));
    }

    #[test]
    fn what_is_asked_of_a_connection() {
        let name: Name = "mx.example".parse().expect("a name");
        let tlsa_name = tlsa_name(&name, 25).expect("a name");
        assert_eq!(tlsa_name.to_string(), "_25._tcp.mx.example");
        let of = |is_authentic, records: &[&Tlsa]| {
            Policy::of(&Outcome::Found(Found {
                name: tlsa_name.clone(),
                data: records
                    .iter()
                    .map(|record| Data::Tlsa((*record).clone()))
                    .collect(),
                is_authentic,
            }))
        };
        let usable = record((3, 1, 1), SPKI_SHA2_256);
        let unusable = record((1, 1, 1), SPKI_SHA2_256);
        let authenticated = Policy::Authenticated(vec![usable.clone()]);
        assert_eq!(of(true, &[&unusable, &usable]), authenticated);
        assert_eq!(of(true, &[&unusable]), Policy::Encrypted);
        let strong = record((3, 1, 2), SPKI_SHA2_512);
        let others = [
            record((3, 1, 0), SPKI_FULL),
            record((3, 0, 1), CERT_SHA2_256),
        ];
        let [full, of_certificate] = &others;
        let kept = vec![full.clone(), of_certificate.clone(), strong.clone()];
        let all = [&usable, full, of_certificate, &strong];
        assert_eq!(of(true, &all), Policy::Authenticated(kept));
        assert_eq!(of(false, &[&usable]), Policy::None);
        assert_eq!(Policy::of(&Outcome::NoSuchName(name)), Policy::None);
        let failure = Failure::Unanswered;
        assert_eq!(
            Policy::of(&Outcome::Failed(failure)),
            Policy::Unknown(failure)
        );
    }
}
