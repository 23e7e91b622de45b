//! What a server offers in its reply to EHLO, RFC 5321 section 4.1.1.1.

use super::Reply;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// RFC 2920.
    pub(crate) pipelining: bool,
    /// RFC 1870: sizes may be declared.
    pub(crate) size: bool,
    /// The size that no message may exceed, where the server names one.
    pub(crate) size_max: Option<u64>,
    /// RFC 6152.
    pub(crate) eight_bit_mime: bool,
    /// RFC 6531.
    pub(crate) smtputf8: bool,
    /// RFC 3030: BDAT.
    pub(crate) chunking: bool,
    /// RFC 3461.
    pub(crate) dsn: bool,
    /// RFC 2034.
    pub(crate) enhanced_status_codes: bool,
    /// RFC 3207.
    pub(crate) starttls: bool,
    /// RFC 4954: names of SASL mechanisms in capitals, each once, in the server's order.
    pub(crate) auth: Vec<String>,
}

impl Extensions {
    /// The first line names the server; what is unknown is passed over.
    pub(crate) fn parse(ehlo: &Reply) -> Extensions {
        let mut extensions = Extensions::default();
        for line in ehlo.lines.iter().skip(1) {
            extensions.add(&line.to_ascii_uppercase());
        }
        extensions
    }

    fn add(&mut self, line: &str) {
        // "AUTH=LOGIN PLAIN" is from before RFC 2554 and still offered next to "AUTH LOGIN PLAIN".
        let line = line.trim().replacen("AUTH=", "AUTH ", 1);
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or_default() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // RFC 1870 section 4: 0 is no limit.
                let limit = words.next().and_then(|word| word.parse().ok());
                self.size_max = limit.filter(|limit| *limit > 0);
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for word in words {
                    if !self.auth.iter().any(|known| known == word) {
                        self.auth.push(word.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ehlo: &str, expected: &Extensions) {
        let (reply, _) = Reply::parse(ehlo.as_bytes())
            .expect("a reply")
            .expect("all of it");
        assert_eq!(Extensions::parse(&reply), *expected, "{ehlo}");
    }

    #[test]
    fn what_postfix_offers() {
        let ehlo = "250-mx.nsh.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n\
                    250-ETRN\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n\
                    250-AUTH=PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n\
                    250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n";
        let all = Extensions {
            pipelining: true,
            size: true,
            size_max: Some(10_240_000),
            eight_bit_mime: true,
            smtputf8: true,
            chunking: true,
            dsn: true,
            enhanced_status_codes: true,
            starttls: true,
            auth: ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
                .map(str::to_owned)
                .into(),
        };
        check(ehlo, &all);
        check(&ehlo.to_lowercase(), &all);
    }

    #[test]
    fn little_and_odd() {
        let none = Extensions::default();
        check("250 mail.example\r\n", &none);
        check("250 STARTTLS\r\n", &none);
        check("250-x\r\n250-\r\n250-STARTTLSX\r\n250 XSIZE 5\r\n", &none);
        let sized = |size_max| Extensions {
            size: true,
            size_max,
            ..none.clone()
        };
        check("250-x\r\n250 SIZE\r\n", &sized(None));
        check("250-x\r\n250 SIZE 0\r\n", &sized(None));
        check("250-x\r\n250 SIZE 99999999999999999999\r\n", &sized(None));
        check("250-x\r\n250 size  7 \r\n", &sized(Some(7)));
        let old = Extensions {
            auth: vec!["LOGIN".to_owned()],
            ..none.clone()
        };
        check("250-x\r\n250 auth=login\r\n", &old);
        check("250-x\r\n250 AUTH\r\n", &none);
    }
}
