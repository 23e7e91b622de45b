//! From options and answers to a message and its envelope.

use std::fmt;
use std::io::{IsTerminal, Write};

use super::addressees;
use super::arguments::Arguments;
use super::drafts;
use super::files::{attachment, text_of};
use super::finished;
use super::letter::Letter;
use super::message::Message;
use super::message::address::Mailbox;
use super::preview::Preview;
use crate::clock;
use crate::net::random;
use crate::tool::{Context, Error};
use crate::wire::smtp::Address;
use crate::{cause, measure::size};

/// Of all messages of one command; they are in memory together.
const LETTERS_OCTETS_MAX: usize = 256 << 20;
/// Of a body that is typed.
const LINES_MAX: usize = 100_000;

/// All but the text.
struct Addressed {
    message: Message,
    bcc: Vec<Mailbox>,
    /// Who gets a message of their own.
    lists: Vec<Vec<Mailbox>>,
    is_asked: bool,
}

/// Asks for what is missing, and whether to send it then. `None` if not.
pub(super) fn compose(
    context: &Context,
    arguments: &Arguments,
) -> Result<Option<Vec<Letter>>, Error> {
    if let Some(file) = &arguments.message {
        let from = arguments.from.as_deref().map(|from| {
            let parsed = Mailbox::parse(from).map_err(|error| wrong("--from", from, error));
            parsed.map(|mailbox| mailbox.address)
        });
        let to = mailboxes("--to", &arguments.to)?;
        let letter = finished::read(file, from.transpose()?, &to)?;
        return Ok(Some(vec![letter]));
    }
    let mut addressed = addressed(context, arguments)?;
    // What cannot be sent is told before somebody types.
    write(&mut addressed.message, &addressed.bcc, false)?;
    let mut is_typed = arguments.edit;
    let text = match (&arguments.body, &arguments.body_file) {
        (Some(body), _) => body.clone(),
        (None, Some(file)) => text_of(file)?,
        (None, None) if arguments.edit => String::new(),
        (None, None) => {
            addressed.is_asked = true;
            is_typed = std::io::stdin().is_terminal();
            let (text, ended) = body(context);
            if let Err(error) = ended {
                addressed.message.text = text;
                if is_typed && !addressed.message.text.is_empty() {
                    keep(context, arguments, &addressed.letters(true)?);
                }
                return Err(error);
            }
            text
        }
    };
    addressed.message.text = match arguments.edit {
        true => {
            addressed.is_asked = true;
            edited(context, &text)?
        }
        false => text,
    };
    let letters = addressed.letters(is_typed)?;
    if addressed.is_asked && !arguments.dry_run {
        let is_watched = !arguments.quiet || std::io::stdin().is_terminal();
        if is_watched {
            let preview = Preview::of(&addressed.message, &addressed.bcc, &letters);
            context.out.emit(&preview);
        }
        let is_wanted = is_wanted(context);
        if !matches!(is_wanted, Ok(true)) {
            if is_typed {
                keep(context, arguments, &letters);
            }
            return is_wanted.map(|_| None);
        }
    }
    Ok(Some(letters))
}

fn addressed(context: &Context, arguments: &Arguments) -> Result<Addressed, Error> {
    let mut is_asked = false;
    let from = match &arguments.from {
        Some(from) => Mailbox::parse(from).map_err(|error| wrong("--from", from, error))?,
        None => {
            is_asked = true;
            ask(context, "from: ", "--from", Mailbox::parse)?
        }
    };
    let mut to = mailboxes("--to", &arguments.to)?;
    let cc = mailboxes("--cc", &arguments.cc)?;
    let bcc = mailboxes("--bcc", &arguments.bcc)?;
    let lists = arguments
        .to_file
        .iter()
        .map(|file| addressees::read(file))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    if to.is_empty() && cc.is_empty() && bcc.is_empty() && lists.is_empty() {
        is_asked = true;
        to = ask(context, "to: ", "--to", Mailbox::parse_list)?;
    }
    let subject = match &arguments.subject {
        Some(subject) => subject.clone(),
        None => {
            is_asked = true;
            ask(context, "subject: ", "--subject", |subject| {
                Ok::<_, std::convert::Infallible>(subject.to_owned())
            })?
        }
    };
    let message = Message {
        from,
        to,
        cc,
        subject,
        date: clock::wall().fixed_offset(),
        random: 0,
        text: String::new(),
        html: arguments.html.as_deref().map(text_of).transpose()?,
        attachments: arguments
            .attach
            .iter()
            .map(|file| attachment(file))
            .collect::<Result<_, _>>()?,
    };
    Ok(Addressed {
        message,
        bcc,
        lists,
        is_asked,
    })
}

fn keep(context: &Context, arguments: &Arguments, letters: &[Letter]) {
    for letter in letters {
        drafts::keep(context, arguments, letter, false);
    }
}

impl Addressed {
    /// One, or one for each of the lists.
    fn letters(&mut self, is_typed: bool) -> Result<Vec<Letter>, Error> {
        let mut letters = Vec::new();
        let mut octets_left = LETTERS_OCTETS_MAX;
        let lists = match self.lists.is_empty() {
            true => vec![self.message.to.clone()],
            false => self.lists.clone(),
        };
        for to in lists {
            self.message.to = to;
            let letter = write(&mut self.message, &self.bcc, is_typed)?;
            octets_left = octets_left
                .checked_sub(letter.octets.len())
                .ok_or_else(|| {
                    let max = size::human(LETTERS_OCTETS_MAX as u64);
                    Error::Usage(format!("the messages are larger than {max} together"))
                })?;
            letters.push(letter);
        }
        Ok(letters)
    }
}

fn write(message: &mut Message, bcc: &[Mailbox], is_typed: bool) -> Result<Letter, Error> {
    message.random = u128::from(random()) << 64 | u128::from(random());
    let mut recipients: Vec<Address> = Vec::new();
    for mailbox in message.to.iter().chain(&message.cc).chain(bcc) {
        if !recipients.contains(&mailbox.address) {
            recipients.push(mailbox.address.clone());
        }
    }
    Ok(Letter {
        from: message.from.address.clone(),
        recipients,
        octets: message
            .emit()
            .map_err(|error| Error::Usage(error.to_string()))?
            .into(),
        message_id: Some(message.message_id()),
        file: None,
        is_typed,
    })
}

fn is_wanted(context: &Context) -> Result<bool, Error> {
    let instead = "give all of --from, --to, --subject and --body";
    loop {
        let prompt = "send it? [Y/n] ";
        let answer = context.input.ask(&context.cancel, prompt, false, instead)?;
        match answer.as_deref().map(str::trim) {
            Some("" | "y" | "Y" | "yes") => return Ok(true),
            Some("n" | "N" | "no") => return Ok(false),
            Some(_) => {}
            // A program's input ends behind the text: nobody is there to say no.
            None => return Ok(!std::io::stdin().is_terminal()),
        }
    }
}

/// Until the answer is a good one.
fn ask<T, E: fmt::Display>(
    context: &Context,
    prompt: &str,
    option: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Error> {
    let instead = format!("give {option}");
    loop {
        let answer = context
            .input
            .ask(&context.cancel, prompt, false, &instead)?;
        let Some(answer) = answer else {
            return Err(Error::Usage(format!("no answer to '{prompt}'; {instead}")));
        };
        match parse(&answer) {
            Ok(parsed) => return Ok(parsed),
            Err(error) => context.out.warn(format!("mail: '{answer}': {error}")),
        }
    }
}

/// Lines until a single dot, or the end, as far as they have come. Of a program's input nothing but
/// the end ends it.
fn body(context: &Context) -> (String, Result<(), Error>) {
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        let how = "the text, until a line with nothing but a dot, or Ctrl-D:";
        context.out.notice(how);
    }
    let mut text = String::new();
    for _ in 0..LINES_MAX {
        let instead = "give --body or --body-file";
        let line = match context.input.ask(&context.cancel, "", false, instead) {
            Ok(line) => line,
            Err(error) => return (text, Err(error)),
        };
        match line {
            Some(line) if line != "." || !is_terminal => text.extend([&*line, "\n"]),
            _ if text.is_empty() && !is_terminal => break,
            _ => return (text, Ok(())),
        }
    }
    let why = match text.is_empty() {
        true => "there is no text; --body '' sends none".to_owned(),
        false => format!("more than {LINES_MAX} lines; give --body-file"),
    };
    (text, Err(Error::Usage(why)))
}

/// As the person leaves it. What cannot be used is kept.
fn edited(context: &Context, text: &str) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Error::Usage(
            "--edit needs a terminal; give --body or --body-file".to_owned(),
        ));
    }
    let cannot = |error: std::io::Error| {
        Error::Unavailable(format!("cannot keep the text: {}", cause::of(&error)))
    };
    let mut builder = tempfile::Builder::new();
    let mut file = builder
        .prefix("nsh-")
        .suffix(".txt")
        .tempfile()
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    let edited = context
        .input
        .edit(&context.cancel, file.path(), "give --body or --body-file")
        .and_then(|()| text_of(file.path()));
    match edited {
        Ok(text) if text.trim().is_empty() => Err(Error::Usage(
            "the text is empty; nothing is sent".to_owned(),
        )),
        Ok(text) => Ok(text),
        Err(error) => {
            let is_written = std::fs::metadata(file.path()).is_ok_and(|written| written.len() > 0);
            if is_written && let Ok((_, path)) = file.keep() {
                let text = format!("mail: --body-file {} has the text", path.display());
                context.out.warn(text);
            }
            Err(error)
        }
    }
}

fn mailboxes(option: &str, given: &[String]) -> Result<Vec<Mailbox>, Error> {
    let lists = given
        .iter()
        .map(|list| Mailbox::parse_list(list).map_err(|error| wrong(option, list, error)));
    Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
}

fn wrong(option: &str, given: &str, error: impl fmt::Display) -> Error {
    Error::Usage(format!("{option} '{given}': {error}"))
}
