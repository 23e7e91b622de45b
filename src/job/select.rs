//! Which jobs are meant: `3`, `%3`, `2-5`, a command's name, `all`.

use std::sync::Arc;

use super::Job;
use crate::tool::Error;

/// The jobs that `words` name, each once. A word that names none is an error, but for `all`.
pub(crate) fn select(listed: &[Arc<Job>], words: &[String]) -> Result<Vec<Arc<Job>>, Error> {
    let mut chosen: Vec<Arc<Job>> = Vec::new();
    for word in words {
        let matching: Vec<&Arc<Job>> = listed.iter().filter(|job| is_meant(job, word)).collect();
        if matching.is_empty() && word != "all" {
            return Err(Error::Negative(unknown(listed, word)));
        }
        for job in matching {
            if !chosen.iter().any(|known| known.id == job.id) {
                chosen.push(Arc::clone(job));
            }
        }
    }
    Ok(chosen)
}

/// The newest running job, or the newest of those that the word names.
pub(crate) fn newest_running(listed: &[Arc<Job>], word: Option<String>) -> Result<Arc<Job>, Error> {
    let chosen = select(listed, &[word.unwrap_or_else(|| "all".to_owned())])?;
    let running = chosen.iter().filter(|job| job.ended().is_none());
    let newest = running.max_by_key(|job| job.id);
    newest
        .cloned()
        .ok_or_else(|| Error::Negative("no such job runs".to_owned()))
}

fn is_meant(job: &Job, word: &str) -> bool {
    if word == "all" || word == job.name {
        return true;
    }
    let number = |text: &str| text.trim_start_matches('%').parse::<u32>().ok();
    match word.split_once('-') {
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) => (first..=last).contains(&job.id),
            _ => false,
        },
        None => number(word) == Some(job.id),
    }
}

fn unknown(listed: &[Arc<Job>], word: &str) -> String {
    let known: Vec<String> = listed
        .iter()
        .map(|job| format!("{} {}", job.id, job.name))
        .collect();
    if known.is_empty() {
        format!("no job '{word}': there are no jobs")
    } else {
        format!(
            "no job '{word}'; known are: {} (see 'jobs')",
            known.join(", ")
        )
    }
}
