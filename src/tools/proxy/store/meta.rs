//! What is known of a stored response beside its body.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// What the response is found by, such as `http://example.com/a?b`.
    pub(crate) url: String,
    /// The request's fields that Vary names, normalised.
    #[serde(with = "latin1")]
    pub(crate) selecting: Vec<(String, Vec<u8>)>,
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Names and values, of any octets.
    #[serde(with = "latin1")]
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) request_time: SystemTime,
    pub(crate) response_time: SystemTime,
    /// `None` where the body is complete.
    pub(crate) part: Option<Part>,
}

/// The body is the octets from `first` on of a representation of `complete` octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) complete: u64,
}

impl Meta {
    /// What it takes in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        /// A pair's two vectors, and what an allocation takes beside its octets.
        const PAIR_OCTETS: usize = 80;
        let pair = |name: usize, value: usize| name + value + PAIR_OCTETS;
        let fields = self.fields.iter().map(|(n, v)| pair(n.len(), v.len()));
        let selecting = self.selecting.iter().map(|(n, v)| pair(n.len(), v.len()));
        size_of::<Meta>() + self.url.len() + fields.chain(selecting).sum::<usize>()
    }
}

/// Octets as the characters U+0000 to U+00FF, which for most fields is the text they are.
mod latin1 {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    type Pairs<N> = Vec<(N, Vec<u8>)>;

    pub(super) fn serialize<N: AsRef<[u8]>, S: Serializer>(
        pairs: &Pairs<N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = |octets: &[u8]| octets.iter().copied().map(char::from).collect::<String>();
        let pairs = pairs.iter();
        serializer.collect_seq(pairs.map(|(name, value)| (text(name.as_ref()), text(value))))
    }

    pub(super) fn deserialize<'de, N: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Pairs<N>, D::Error> {
        let octets = |text: String| {
            let octets: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
            octets.map_err(D::Error::custom)
        };
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?.into_iter();
        let pairs = pairs.map(|(name, value)| {
            let name = N::try_from(octets(name)?);
            let name = name.map_err(|_| D::Error::custom("a name that is not UTF-8"))?;
            Ok((name, octets(value)?))
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_octets_come_back(
            url in ".*",
            name in ".*",
            value in any::<Vec<u8>>(),
            field in any::<(Vec<u8>, Vec<u8>)>(),
            nanoseconds in any::<u64>(),
        ) {
            let meta = Meta {
                url,
                selecting: vec![(name, value)],
                status: 206,
                reason: "Übrig".to_owned(),
                fields: vec![field.clone(), field],
                request_time: SystemTime::UNIX_EPOCH,
                response_time: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
                part: Some(Part { first: 5, complete: u64::MAX }),
            };
            let text = serde_json::to_string(&meta).expect("text");
            let back: Meta = serde_json::from_str(&text).expect("the same");
            prop_assert_eq!(back, meta);
        }
    }
}
