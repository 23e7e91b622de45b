//! A thousand messages, read back by Python's email package.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde_json::{Value, json};

use super::stuffing::{Stuffing, Transfer};
use super::{Attachment, Mailbox, Message};

const MESSAGES: u64 = 1_000;

/// Reads a line of JSON per message and says what is different.
const SCRIPT: &str = r##"
import base64, email, email.header, email.policy, email.utils, json, re, sys

count = 0
for line in sys.stdin:
    case = json.loads(line)
    octets = base64.b64decode(case["octets"])
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets), "a bare CR or LF"
    for physical in octets.split(b"\r\n"):
        assert len(physical) <= 998, physical
    header = octets.split(b"\r\n\r\n")[0]
    for physical in header.split(b"\r\n"):
        assert b"=?" not in physical or len(physical) <= 76, physical
    for word in re.findall(rb"=\?utf-8\?[QB]\?[^?]*\?=", header):
        assert len(word) <= 75, word
    unfolded = header.decode().replace("\r\n ", " ").replace("\r\n", "\n")
    message = email.message_from_bytes(octets, policy=email.policy.SMTPUTF8)

    def same(what, found):
        assert found == case[what], f"{case['number']} {what}: {found!r} is not {case[what]!r}"

    def mailboxes(name):
        # The newer parser puts a space between the encoded-words of a display name.
        field = re.search(rf"^{name}: (.*)$", unfolded, re.M)
        found = email.utils.getaddresses([field[1]]) if field else []
        decode = lambda text: str(email.header.make_header(email.header.decode_header(text)))
        return [[decode(display_name), address] for display_name, address in found]

    def text(part):
        octets = part.get_payload(decode=True)
        assert part.get_content_charset() == "utf-8"
        return octets.decode("utf-8")

    same("subject", str(message["Subject"]))
    same("from", mailboxes("From"))
    same("to", mailboxes("To"))
    same("cc", mailboxes("Cc"))
    same("message_id", str(message["Message-ID"]))
    assert message["Bcc"] is None
    assert message["Date"].datetime.isoformat() == case["date"], message["Date"]
    leaves = [part for part in message.walk() if not part.is_multipart()]
    files = [part for part in leaves if part.get_content_disposition() == "attachment"]
    texts = [part for part in leaves if part.get_content_disposition() is None]
    same("texts", [[part.get_content_type(), text(part)] for part in texts])
    content = lambda part: base64.b64encode(part.get_payload(decode=True)).decode()
    same("files", [[part.get_filename(), content(part)] for part in files])
    for part in message.walk():
        for value in part.values():
            # The quoted file name next to the extended one is a duplicate to Python, and it
            # does not know RFC 6532.
            known = "duplicate parameter name" + "|[Nn]on-ASCII" * case["needs_utf8"]
            odd = [str(d) for d in value.defects if not re.search(known, str(d))]
            assert not odd, (value, odd)
        assert not part.defects, part.defects
    count += 1
assert count == int(sys.argv[1]), count
"##;

#[test]
#[ignore = "needs python3; run with --ignored"]
fn python_reads_what_was_meant() {
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT, &MESSAGES.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut cases = String::new();
    for number in 0..MESSAGES {
        let message = Dice(number + 1).message();
        writeln!(cases, "{}", case(number, &message)).expect("a String takes all");
    }
    // A script that has failed says why itself.
    let _ = python
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(cases.as_bytes()));
    assert!(python.wait().expect("python3 ends").success());
}

fn case(number: u64, message: &Message) -> Value {
    let mailboxes = |mailboxes: &[Mailbox]| -> Value {
        let parts = mailboxes.iter().map(|mailbox| {
            let name = mailbox.display_name.clone().unwrap_or_default();
            json!([name, mailbox.address.to_string()])
        });
        parts.collect()
    };
    let mut texts = Vec::new();
    if !message.text.is_empty() || message.html.is_none() {
        texts.push(json!(["text/plain", with_crlf(&message.text)]));
    }
    if let Some(html) = &message.html {
        texts.push(json!(["text/html", with_crlf(html)]));
    }
    let files = message.attachments.iter();
    let files = files.map(|file| json!([file.file_name, STANDARD.encode(&file.octets)]));
    json!({
        "number": number,
        "needs_utf8": !message.emit().expect("a message").is_ascii(),
        "octets": STANDARD.encode(message.emit().expect("a message")),
        "subject": message.subject,
        "from": mailboxes(std::slice::from_ref(&message.from)),
        "to": mailboxes(&message.to),
        "cc": mailboxes(&message.cc),
        "message_id": message.message_id(),
        "date": message.date.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "texts": texts,
        "files": files.collect::<Value>(),
    })
}

fn with_crlf(text: &str) -> String {
    let mut octets = Vec::new();
    let mut stuffing = Stuffing::new(Transfer::Bdat);
    stuffing.push(text.as_bytes(), &mut octets);
    stuffing.finish(&mut octets);
    String::from_utf8(octets).expect("UTF-8")
}

/// The same messages at every run.
struct Dice(u64);

impl Dice {
    /// xorshift64*, of which the high half is good.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % limit
    }

    fn text(&mut self, pieces: &[&str], count: usize) -> String {
        let count = self.below(count);
        (0..count)
            .map(|_| pieces[self.below(pieces.len())])
            .collect()
    }

    fn message(&mut self) -> Message {
        // The first few are too alike.
        (0..8).for_each(|_| _ = self.below(2));
        let seconds = i64::try_from(self.below(2_000_000_000)).expect("seconds");
        let minutes = i32::try_from(self.below(24 * 60)).expect("minutes") - 12 * 60;
        let offset = chrono::FixedOffset::east_opt(minutes * 60).expect("less than a day");
        let utc = DateTime::from_timestamp(seconds, 0).expect("a date");
        let (to, cc) = (1 + self.below(6), self.below(3));
        Message {
            from: self.mailbox(),
            to: (0..to).map(|_| self.mailbox()).collect(),
            cc: (0..cc).map(|_| self.mailbox()).collect(),
            subject: self.words(40),
            date: utc.with_timezone(&offset),
            random: 0x1234_5678 << 64 | u128::from(self.0),
            text: self.prose(),
            html: (self.below(3) == 0).then(|| format!("<p>{}", self.prose())),
            attachments: (0..self.below(3)).map(|_| self.attachment()).collect(),
        }
    }

    fn words(&mut self, count: usize) -> String {
        const PIECES: [&str; 20] = [
            " ",
            " ",
            "a",
            "word",
            "Grüße",
            "日本語",
            "🦀",
            "=?utf-8?Q?x?=",
            "=",
            "?",
            "_",
            ",",
            "(x)",
            "\"",
            "\\",
            "<a@b>",
            ":",
            "a-very-long-word-that-is-nowhere-to-be-folded-at-all",
            "e\u{301}",
            "-",
        ];
        // Python drops blanks at the edges, also encoded ones.
        self.text(&PIECES, count).trim().to_owned()
    }

    fn mailbox(&mut self) -> Mailbox {
        const ADDRESSES: [&str; 6] = [
            "ann@example.org",
            "o'neil+x=1@mail.example",
            "\"a b,c\"@d.example",
            "jörg@bücher.example",
            "a@[192.0.2.1]",
            "a-rather-long-local-part-that-fills-the-line@an.even.longer.domain.example.org",
        ];
        let mut mailbox = Mailbox::parse(ADDRESSES[self.below(6)]).expect("a mailbox");
        let name = self.words(8);
        mailbox.display_name = (!name.is_empty()).then_some(name);
        mailbox
    }

    fn prose(&mut self) -> String {
        const PIECES: [&str; 20] = [
            "\n",
            "\r\n",
            "\r",
            "\n.\n",
            "\r\n.\r\n",
            ".",
            " ",
            "\t",
            "From ",
            "\nFrom me",
            "word ",
            "Grüße ",
            "日本語",
            "=",
            "=3D",
            "\0",
            "--=_",
            "-- \n",
            "0123456789abcdefghij0123456789abcdefghij0123456789",
            "🦀",
        ];
        let ascii = self.below(3) == 0;
        let long = if self.below(10) == 0 { 400 } else { 40 };
        let text = self.text(&PIECES, long);
        match ascii {
            true => text.chars().filter(char::is_ascii).collect(),
            false => text,
        }
    }

    fn attachment(&mut self) -> Attachment {
        const NAMES: [&str; 8] = [
            "report.pdf",
            "naïve.txt",
            "a \"b\" \\c;d.html",
            "日本語の文書.tar.gz",
            "x.eml",
            "no type",
            "a-name-that-goes-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on.md",
            "100%'*.csv",
        ];
        let mut file_name = NAMES[self.below(8)].to_owned();
        if self.below(4) == 0 {
            file_name = format!("{}{file_name}", "ü".repeat(self.below(80)));
        }
        let octets = (0..self.below(300))
            .map(|_| self.below(256) as u8)
            .collect();
        Attachment { file_name, octets }
    }
}
