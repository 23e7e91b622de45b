//! Conversations: what the server sends, and what the client must have said.

use proptest::collection::vec;
use proptest::prelude::*;

use super::exchange::Exchange;
use super::secret::Secret;
use super::*;

const BINDING: &[u8] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30, 31,
];

/// What the client starts with.
struct Attempt<'a> {
    mechanism: Mechanism,
    user: &'a str,
    identity: Option<&'a str>,
    secret: &'a str,
    nonce: &'a str,
    binding: Option<&'a [u8]>,
}

const RFC_5802: Attempt = Attempt {
    mechanism: Mechanism::ScramSha1,
    user: "user",
    identity: None,
    secret: "pencil",
    nonce: "fyko+d2lbbFgONRv9qkxdawL",
    binding: None,
};
const RFC_5802_FIRST: &str = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                              s=QSXCR+Q6sek8bf92,i=4096";
const RFC_5802_FINAL: &str = "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";

impl Attempt<'_> {
    /// The server sends the lines with `S:`, the client those with `C:`, and the 235 at the end
    /// is believed.
    #[track_caller]
    fn check(&self, transcript: &[&str], text: &str) {
        let secret = Secret::new(self.secret);
        let (mut exchange, initial) = self.start(&secret).expect("a start");
        let mut said: Vec<String> = Vec::new();
        said.extend(initial.map(|response| format!("C: {}", readable(&response))));
        for line in transcript {
            if let Some(challenge) = line.strip_prefix("S: ") {
                let response = exchange.step(challenge.as_bytes()).expect(challenge);
                said.push((*line).to_owned());
                said.push(format!("C: {}", readable(&response)));
            }
        }
        assert_eq!(said, transcript);
        assert_eq!(exchange.finish(text), Ok(()));
    }

    fn start<'b>(&'b self, secret: &'b Secret) -> Result<(Exchange<'b>, Option<Secret>), Error> {
        let Attempt {
            mechanism,
            user,
            identity,
            nonce,
            binding,
            ..
        } = *self;
        Exchange::start(mechanism, user, identity, secret, nonce, binding)
    }

    /// Of the first step that fails, or of the end.
    #[track_caller]
    fn check_fails(&self, challenges: &[&str], text: &str, expected: Error) {
        let secret = Secret::new(self.secret);
        let mut exchange = match self.start(&secret) {
            Ok((exchange, _)) => exchange,
            Err(error) => return assert_eq!(error, expected),
        };
        for challenge in challenges {
            if let Err(error) = exchange.step(challenge.as_bytes()) {
                assert_eq!(error, expected);
                let again = exchange.step(b"<1@a>").err();
                assert_eq!(again, Some(Error::UnexpectedChallenge));
                assert_eq!(exchange.finish(text), Err(Error::Unfinished));
                return;
            }
        }
        assert_eq!(exchange.finish(text), Err(expected));
    }
}

fn readable(response: &Secret) -> String {
    let text = String::from_utf8_lossy(response.octets());
    text.replace('\0', "<NUL>").replace('\x01', "^A")
}

fn attempt<'a>(mechanism: Mechanism, user: &'a str, secret: &'a str) -> Attempt<'a> {
    Attempt {
        mechanism,
        user,
        secret,
        ..RFC_5802
    }
}

#[test]
fn scram_of_rfc_5802_section_5_and_rfc_7677_section_3() {
    let transcript = [
        "C: n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        &format!("S: {RFC_5802_FIRST}"),
        "C: c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
         p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        &format!("S: {RFC_5802_FINAL}"),
        "C: ",
    ];
    RFC_5802.check(&transcript, "2.7.0 accepted");
    // With the signature in the text of the 235.
    let text = format!("2.7.0 {}", STANDARD.encode(RFC_5802_FINAL));
    RFC_5802.check(&transcript[..3], &text);

    let rfc_7677 = Attempt {
        mechanism: Mechanism::ScramSha256,
        nonce: "rOprNGfwEbeRWgbNEkqO",
        ..RFC_5802
    };
    rfc_7677.check(
        &[
            "C: n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "S: r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "C: c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "S: v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            "C: ",
        ],
        "ok",
    );
}

/// Worked out with Python's hashlib, since no RFC has an example.
#[test]
fn scram_with_channel_binding() {
    let bound = Attempt {
        mechanism: Mechanism::ScramSha256Plus,
        user: "a=b,c",
        identity: Some("boss,x"),
        secret: "Käse,=",
        nonce: "abc",
        binding: Some(BINDING),
    };
    bound.check(
        &[
            "C: p=tls-server-end-point,a=boss=2Cx,n=a=3Db=2Cc,r=abc",
            "S: r=abcDEF,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
            "C: c=cD10bHMtc2VydmVyLWVuZC1wb2ludCxhPWJvc3M9MkN4LAABAgMEBQYHCAkKCwwNDg8QERITFBUW\
             FxgZGhscHR4f,r=abcDEF,p=TuU5fq1HSezBRBGFdynB5JtOvMGIDJA80XG6hDpXX04=",
            "S: v=TUu1cMDqG/g+xtnbgchDLMySfD+oBrj6SXYdgemI5k0=",
            "C: ",
        ],
        "ok",
    );
    let sha_1 = Attempt {
        mechanism: Mechanism::ScramSha1Plus,
        nonce: "abc",
        ..RFC_5802
    };
    Attempt {
        binding: Some(BINDING),
        ..sha_1
    }
    .check(
        &[
            "C: p=tls-server-end-point,,n=user,r=abc",
            "S: r=abcDEF,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=5000",
            "C: c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,\
             r=abcDEF,p=+X0ibUIl+BLlgo+ODCYaTsMKTEU=",
            "S: v=XtLmKwsa0FuJ42W9vzRIUMbo0Y8=",
            "C: ",
        ],
        "ok",
    );
    // We could bind, and the server has not offered to.
    let offer_missed = Attempt {
        mechanism: Mechanism::ScramSha256,
        nonce: "abc",
        ..RFC_5802
    };
    Attempt {
        binding: Some(BINDING),
        ..offer_missed
    }
    .check(
        &[
            "C: y,,n=user,r=abc",
            "S: r=abcDEF,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
            "C: c=eSws,r=abcDEF,p=XR/JC+uNG4mfV7HUSt5CHTrraO709CL5O3hutAVhLm0=",
            "S: v=VG5TClJUMAeOJoyaQfxN3bedfS+4gYEml7fVReJeTPA=",
            "C: ",
        ],
        "ok",
    );
}

#[test]
fn a_scram_server_that_does_not_prove_itself() {
    let wrong = "v=AAAApqV8S7suAoZWja4dJRkFsKQ=";
    RFC_5802.check_fails(&[RFC_5802_FIRST, wrong], "ok", Error::ServerSignature);
    let in_text = format!("2.7.0 {}", STANDARD.encode(wrong));
    RFC_5802.check_fails(&[RFC_5802_FIRST], &in_text, Error::ServerSignature);
    RFC_5802.check_fails(&[RFC_5802_FIRST], "2.7.0 ok", Error::NoServerSignature);
    RFC_5802.check_fails(&[RFC_5802_FIRST, ""], "ok", Error::Malformed);
    RFC_5802.check_fails(&[], "ok", Error::Unfinished);
    let shortened = RFC_5802_FIRST.replace("3rfcNHYJY1ZVvWVs7j", "");
    RFC_5802.check_fails(&[&shortened], "ok", Error::ServerNonce);
    let cheap = RFC_5802_FIRST.replace("4096", "1");
    RFC_5802.check_fails(&[&cheap], "ok", Error::Iterations(1));
    let refused = Error::Server(scram::ServerError::InvalidProof);
    RFC_5802.check_fails(&[RFC_5802_FIRST, "e=invalid-proof"], "ok", refused);
    let once_more = [RFC_5802_FIRST, RFC_5802_FINAL, ""];
    RFC_5802.check_fails(&once_more, "ok", Error::UnexpectedChallenge);
}

#[test]
fn passwords_that_are_sent() {
    // RFC 4616 section 4.
    let plain = attempt(Mechanism::Plain, "tim", "tanstaaftanstaaf");
    plain.check(&["C: <NUL>tim<NUL>tanstaaftanstaaf"], "ok");
    plain.check_fails(&[""], "ok", Error::UnexpectedChallenge);
    let kurt = attempt(Mechanism::Plain, "Kurt", "xipj3plmq");
    let kurt = Attempt {
        identity: Some("Ursel"),
        ..kurt
    };
    kurt.check(&["C: Ursel<NUL>Kurt<NUL>xipj3plmq"], "ok");
    let login = attempt(Mechanism::Login, "tim", "x y=,z");
    login.check(
        &["S: Username:", "C: tim", "S: Password:", "C: x y=,z"],
        "ok",
    );
    login.check_fails(&["User Name\0"], "ok", Error::Unfinished);
    login.check_fails(&["", "", ""], "ok", Error::UnexpectedChallenge);
}

/// RFC 2195 section 2.
#[test]
fn cram_md5() {
    let tim = attempt(Mechanism::CramMd5, "tim", "tanstaaftanstaaf");
    let challenge = "S: <1896.697170952@postoffice.reston.mci.net>";
    let response = "C: tim b913a602c7eda7a495b4e6e7334d3890";
    tim.check(&[challenge, response], "ok");
    tim.check_fails(&[""], "ok", Error::Malformed);
    tim.check_fails(&[], "ok", Error::Unfinished);
    tim.check_fails(&["<1@a>", "<2@a>"], "ok", Error::UnexpectedChallenge);
    tim.check_fails(&[&"x".repeat(12_289)], "ok", Error::ChallengeLength);
}

/// RFC 7628 section 4.1 without host and port, and the example of Google.
#[test]
fn tokens() {
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let standard = attempt(Mechanism::OauthBearer, "user@example.com", token);
    let response = format!("C: n,a=user@example.com,^Aauth=Bearer {token}^A^A");
    standard.check(&[&response], "ok");
    let other = Attempt {
        identity: Some("b,c"),
        ..standard
    };
    other.check(&[&format!("C: n,a=b=2Cc,^Aauth=Bearer {token}^A^A")], "ok");
    let nobody = attempt(Mechanism::OauthBearer, "", token);
    nobody.check(&[&format!("C: n,,^Aauth=Bearer {token}^A^A")], "ok");
    other.check_fails(&["{\"status\":\"invalid_token\"}"], "ok", Error::Unfinished);
    other.check_fails(&["{}", "{}"], "ok", Error::UnexpectedChallenge);

    let token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg";
    let secret = Secret::new(token);
    let google = attempt(Mechanism::Xoauth2, "someuser@example.com", token);
    let (mut exchange, response) = google.start(&secret).expect("a start");
    let expected = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRj\
                    Mk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";
    let response = response.map(|response| response.to_base64());
    assert_eq!(
        response.as_ref().map(Secret::octets),
        Some(expected.as_bytes())
    );
    let refused = exchange.step(b"{\"status\":\"401\"}").expect("a response");
    assert_eq!(refused.octets(), b"");
    let mut exchange = nobody.start(&secret).expect("a start").0;
    assert_eq!(exchange.step(b"{}").expect("a response").octets(), b"\x01");
}

#[test]
fn what_cannot_be_sent() {
    use Mechanism::{CramMd5, Login, OauthBearer, Plain, ScramSha256Plus};
    #[track_caller]
    fn check(attempt: Attempt<'_>, expected: Error) {
        attempt.check_fails(&[], "", expected);
    }
    check(attempt(Plain, "a\0b", "x"), Error::UserName(Plain));
    check(attempt(Plain, "", "x"), Error::UserName(Plain));
    for password in ["", "x\0y", "x\n"] {
        check(attempt(Plain, "a", password), Error::Password);
        check(
            Attempt {
                secret: password,
                ..RFC_5802
            },
            Error::Password,
        );
    }
    for token in ["", "x y", "x\n", "x\u{1}", "ä"] {
        check(attempt(OauthBearer, "a", token), Error::Token);
    }
    for mechanism in [CramMd5, Login] {
        let other = Attempt {
            identity: Some("b"),
            ..attempt(mechanism, "a", "x")
        };
        check(other, Error::AuthorizationIdentity(mechanism));
    }
    for identity in ["", "b\0"] {
        let other = Attempt {
            identity: Some(identity),
            ..attempt(Plain, "a", "x")
        };
        check(other, Error::AuthorizationIdentity(Plain));
    }
    let unbound = attempt(ScramSha256Plus, "a", "x");
    check(unbound, Error::ChannelBinding(ScramSha256Plus));
    check(
        Attempt {
            nonce: "a,b",
            ..RFC_5802
        },
        Error::Nonce,
    );
    let latin_1 = Secret::new(*b"K\xe4se");
    let error = RFC_5802.start(&latin_1).err();
    assert_eq!(error, Some(Error::Password));
}

const MECHANISMS: [Mechanism; 9] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
    Mechanism::CramMd5,
    Mechanism::Plain,
    Mechanism::Login,
    Mechanism::OauthBearer,
    Mechanism::Xoauth2,
];

#[test]
fn nothing_shows_the_secret() {
    let canary = "canary-Zq7";
    let octets = format!("{:?}", canary.as_bytes());
    let forms = [
        canary,
        &STANDARD.encode(canary),
        octets.trim_matches(['[', ']']),
    ];
    #[track_caller]
    fn check(shown: &str, forms: &[&str]) {
        assert!(!forms.iter().any(|form| shown.contains(form)), "{shown}");
    }
    let secret = Secret::new(canary);
    check(&format!("{secret:?} {:?}", secret.to_base64()), &forms);
    for mechanism in MECHANISMS {
        let attempt = Attempt {
            binding: Some(BINDING),
            ..attempt(mechanism, "tim", canary)
        };
        let (mut exchange, response) = attempt.start(&secret).expect("a start");
        check(&format!("{exchange:?} {response:?}"), &forms);
        for challenge in [RFC_5802_FIRST, RFC_5802_FINAL] {
            let response = exchange.step(challenge.as_bytes());
            check(&format!("{exchange:?} {response:?}"), &forms);
        }
    }
}

#[test]
fn challenges() {
    #[track_caller]
    fn check(text: &str, expected: Result<&[u8], Error>) {
        assert_eq!(
            decode_challenge(text).as_deref(),
            expected.as_ref().copied()
        );
    }
    check("VXNlcm5hbWU6", Ok(b"Username:"));
    check("AQ== ", Ok(b"\x01"));
    check("", Ok(b""));
    check(" ", Ok(b""));
    check("go on", Err(Error::Base64));
    check("AQ", Err(Error::Base64));
    check("VXNl\r\ncm5hbWU6", Err(Error::Base64));
    check(&"A".repeat(12_288), Ok(&[0; 9216]));
    check(&"A".repeat(12_292), Err(Error::ChallengeLength));
}

fn challenge() -> impl Strategy<Value = Vec<u8>> {
    // Fewer iterations than would be worked off.
    let like_scram = "r=(fyko\\+d2lbbFgONRv9qkxdawL)?[a-z]{0,3},s=[A-Z]{4},i=[0-9]{0,3}(,x)?";
    prop_oneof![
        vec(any::<u8>(), 0..60),
        like_scram.prop_map(String::into_bytes),
        "[ermsvi]=[A-Za-z0-9+/]{0,8}={0,2}(,[a-z]=[a-z]{0,3}){0,2}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_challenges_panic_or_go_on_or_pass_for_a_proof(
        mechanism in proptest::sample::select(&MECHANISMS[..]),
        challenges in vec(challenge(), 0..6),
        text in "[ -~]{0,30}",
    ) {
        let secret = Secret::new("pencil");
        let attempt = Attempt { mechanism, binding: Some(BINDING), ..RFC_5802 };
        let (mut exchange, _) = attempt.start(&secret).expect("a start");
        let answered: Vec<bool> =
            challenges.iter().map(|challenge| exchange.step(challenge).is_ok()).collect();
        prop_assert!(answered.iter().filter(|is_answered| **is_answered).count() <= 2);
        prop_assert!(answered.is_sorted_by(|before, after| before >= after));
        if exchange.finish(&text).is_ok() {
            prop_assert!(!mechanism.name().starts_with("SCRAM"));
            prop_assert!(!answered.contains(&false));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        if let Ok(octets) = decode_challenge(&text) {
            prop_assert_eq!(STANDARD.encode(octets), text.trim());
        }
    }
}
