//! Header fields of a received message: those that are put before it, and the one that is shown.

use std::net::IpAddr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;

use super::session::Received;

/// What is shown of a field: RFC 5322 section 2.1.1 has no longer lines.
const SHOWN_OCTETS_MAX: usize = 998;

/// The trace information of RFC 5321 section 4.4: Return-Path and Received.
///
/// `date` is in the format of RFC 5322 section 3.3.
pub(crate) fn trace_fields(
    received: &Received,
    number: u64,
    client: IpAddr,
    hostname: &str,
    date: &str,
) -> Vec<u8> {
    let literal = match client.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    };
    // RFC 5321 section 7.2: among several recipients, some may be blind copies.
    let recipient = match &received.recipients[..] {
        [only] => format!("\r\n\tfor <{only}>"),
        _ => String::new(),
    };
    format!(
        "Return-Path: <{}>\r\n\
         Received: from {} ({literal})\r\n\
         \tby {hostname} with {} id {number}{recipient};\r\n\
         \t{date}\r\n",
        received.mail_from,
        received.helo,
        protocol(received),
    )
    .into_bytes()
}

/// The first Subject, unfolded and decoded, with the control characters that the sender may have
/// put there.
pub(crate) fn subject(message: &[u8]) -> Option<String> {
    let mut lines = message.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next().filter(|line| !line.trim_ascii().is_empty()) {
        let mut field = line.trim_ascii_end().to_vec();
        while let Some(folded) = lines.next_if(|line| matches!(line, [b' ' | b'\t', ..])) {
            if field.len() < SHOWN_OCTETS_MAX {
                field.extend_from_slice(folded.trim_ascii_end());
            }
        }
        let colon = field.iter().position(|octet| *octet == b':');
        let Some((name, value)) = colon.and_then(|colon| field.split_at_checked(colon)) else {
            continue;
        };
        if name.trim_ascii_end().eq_ignore_ascii_case(b"subject") {
            let value = value[1..].trim_ascii();
            return Some(decode(&value[..value.len().min(SHOWN_OCTETS_MAX)]));
        }
    }
    None
}

/// RFC 3848 and RFC 6531 section 4.3.
fn protocol(received: &Received) -> String {
    if !received.is_esmtp {
        return "SMTP".to_owned();
    }
    let name = if received.smtputf8 {
        "UTF8SMTP"
    } else {
        "ESMTP"
    };
    let tls = if received.is_tls { "S" } else { "" };
    let authenticated = if received.user.is_some() { "A" } else { "" };
    format!("{name}{tls}{authenticated}")
}

/// Replaces the encoded-words of RFC 2047 that are UTF-8, wherever they are.
fn decode(text: &[u8]) -> String {
    let mut decoded = Vec::new();
    let mut is_behind_word = false;
    let mut rest = text;
    while let Some(start) = memmem::find(rest, b"=?") {
        let (before, at_word) = rest.split_at(start);
        let word = decode_word(at_word);
        // Section 6.2: the white space between two encoded-words belongs to neither.
        let is_between = is_behind_word && word.is_some() && before.trim_ascii().is_empty();
        if !is_between {
            decoded.extend_from_slice(before);
        }
        is_behind_word = word.is_some();
        let (octets, behind) = word.unwrap_or_else(|| (b"=?".to_vec(), &at_word[2..]));
        decoded.extend(octets);
        rest = behind;
    }
    decoded.extend_from_slice(rest);
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The octets of the encoded-word at the front, with what is behind it.
fn decode_word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut parts = text.splitn(5, |octet| *octet == b'?');
    let _equals = parts.next()?;
    let (charset, encoding, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let behind = parts.next()?.strip_prefix(b"=")?;
    // RFC 2231 section 5: a language may follow the name.
    let charset = charset.split(|octet| *octet == b'*').next()?;
    let is_utf8 = [&b"utf-8"[..], b"us-ascii"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(charset));
    let word = match encoding {
        _ if !is_utf8 => return None,
        b"B" | b"b" => base64().decode(encoded).ok()?,
        b"Q" | b"q" => decode_q(encoded)?,
        _ => return None,
    };
    Some((word, behind))
}

/// RFC 2047 section 4.2.
fn decode_q(mut encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    loop {
        encoded = match encoded {
            [] => return Some(decoded),
            [b'=', digits @ ..] => {
                let (digits, rest) = digits.split_at_checked(2)?;
                let [high, low] =
                    [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
                decoded.push(u8::try_from(high? * 16 + low?).ok()?);
                rest
            }
            [b'_', rest @ ..] => {
                decoded.push(b' ');
                rest
            }
            [b' ' | b'\t', ..] => return None,
            [octet, rest @ ..] => {
                decoded.push(*octet);
                rest
            }
        };
    }
}

/// Padding is left out by some.
fn base64() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::STANDARD, config)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn received() -> Received {
        Received {
            helo: "client.example".to_owned(),
            is_esmtp: true,
            is_tls: false,
            user: None,
            mail_from: "ann@client.example".to_owned(),
            recipients: vec!["bob@mail.example".to_owned()],
            octets: Vec::new(),
            smtputf8: false,
        }
    }

    #[track_caller]
    fn check_trace(received: &Received, client: &str, expected: &str) {
        let client = client.parse().expect("an address");
        let date = "Sun, 06 Nov 1994 08:49:37 +0000";
        let fields = trace_fields(received, 3, client, "mail.example", date);
        assert_eq!(String::from_utf8_lossy(&fields), expected);
    }

    #[test]
    fn trace_information() {
        let mut received = received();
        check_trace(
            &received,
            "::ffff:192.0.2.1",
            "Return-Path: <ann@client.example>\r\n\
             Received: from client.example ([192.0.2.1])\r\n\
             \tby mail.example with ESMTP id 3\r\n\
             \tfor <bob@mail.example>;\r\n\
             \tSun, 06 Nov 1994 08:49:37 +0000\r\n",
        );
        received.mail_from.clear();
        received.recipients.push("carol@mail.example".to_owned());
        check_trace(
            &received,
            "2001:db8::1",
            "Return-Path: <>\r\n\
             Received: from client.example ([IPv6:2001:db8::1])\r\n\
             \tby mail.example with ESMTP id 3;\r\n\
             \tSun, 06 Nov 1994 08:49:37 +0000\r\n",
        );
    }

    #[test]
    fn protocols() {
        #[track_caller]
        fn check(is_esmtp: bool, smtputf8: bool, is_tls: bool, user: Option<&str>, name: &str) {
            let received = Received {
                is_esmtp,
                smtputf8,
                is_tls,
                user: user.map(str::to_owned),
                ..received()
            };
            assert_eq!(protocol(&received), name);
        }
        check(false, false, true, None, "SMTP");
        check(true, false, false, None, "ESMTP");
        check(true, false, true, None, "ESMTPS");
        check(true, false, false, Some("ann"), "ESMTPA");
        check(true, false, true, Some("ann"), "ESMTPSA");
        check(true, true, false, None, "UTF8SMTP");
        check(true, true, true, Some("ann"), "UTF8SMTPSA");
    }

    #[test]
    fn subjects() {
        #[track_caller]
        fn check(message: &str, expected: Option<&str>) {
            assert_eq!(subject(message.as_bytes()).as_deref(), expected);
        }
        check(
            "Received: from x\r\n\tSubject: no\r\nSUBJECT: a\r\n\tb \r\n  c\r\n\
             Subject: second\r\n",
            Some("a\tb  c"),
        );
        check("no field\r\nSubject : a\r\n\r\nbody\r\n", Some("a"));
        check("", None);
        check("\r\nSubject: body\r\n", None);
        let long = format!("Subject: {}\r\n {}", "a".repeat(500), "b".repeat(500));
        let shown = subject(long.as_bytes()).map(|text| text.len());
        assert_eq!(shown, Some(SHOWN_OCTETS_MAX));
    }

    #[test]
    fn encoded_words() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(decode(text.as_bytes()), expected, "{text}");
        }
        check("=?UTF-8?Q?Gr=C3=BC=c3=9fe?=", "Grüße");
        check(
            "=?utf-8?b?R3LDvMOfZQ==?= aus =?us-ascii?q?K=C3=B6ln_a?=",
            "Grüße aus Köln a",
        );
        check("=?utf-8?B?R3LDvMOfZQ?=", "Grüße");
        check("=?utf-8*de?Q?=C3=A4?=\r\n =?utf-8?Q?b?= <a@x>", "äb <a@x>");
        // A character cut in two by a client that counts octets.
        check("=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "ä");
        check("a =?x? =?utf-8?Q?b?=", "a =?x? b");
        check("=?utf-8?Q?b?= =?x", "b =?x");
        check("=?utf-8?Q?=FF?=", "\u{fffd}");
        let unknown = [
            "=?",
            "=?utf-8?Q?a b?=",
            "=?utf-8?Q?=X?=",
            "=?utf-8?X?a?=",
            "=?big5?Q?a?=",
        ];
        for same in unknown
            .into_iter()
            .chain(["=?utf-8?B?*?=", "=?utf-8?Q?a?", "a =? b"])
        {
            check(same, same);
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(
            front in prop_oneof![Just(""), Just("Subject: "), Just("Subject: =?utf-8?q?=")],
            rest in vec(prop_oneof![any::<u8>(), Just(b'='), Just(b'?'), Just(b'\n')], 0..99),
        ) {
            subject(&[front.as_bytes(), &rest].concat());
        }
    }
}
