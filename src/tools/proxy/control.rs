use super::failure::Failure;
use super::own::Answer;
use super::shared::Shared;
use crate::tool::*;
pub(super) fn answer(
    _: &Shared,
    _: &str,
    _: &std::collections::HashMap<String, String>,
) -> Result<Answer, Failure> {
    Ok(Answer::new("a", "b"))
}
pub(super) fn change(
    _: &Shared,
    _: &str,
    _: &std::collections::HashMap<String, String>,
) -> Option<Answer> {
    None
}
pub(super) fn run(_: &Context, _: &super::arguments::Cache) -> Result<Status, Error> {
    Ok(Status::OK)
}
