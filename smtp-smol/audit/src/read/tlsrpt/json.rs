//! A report as it is written (RFC 8460 4.4). Fields that are not needed are skipped, and those that some write in another
//! way are read in both.

use std::borrow::Cow;
use std::fmt::Formatter;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// A report.
#[derive(Debug, Deserialize)]
pub(super) struct Report<'a> {
    #[serde(borrow, rename = "organization-name")]
    pub(super) organization: Cow<'a, str>,
    #[serde(borrow, rename = "date-range")]
    pub(super) date_range: Range<'a>,
    #[serde(borrow, rename = "report-id")]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) policies: Vec<Of<'a>>,
}

/// The time that it is about.
#[derive(Debug, Deserialize)]
pub(super) struct Range<'a> {
    #[serde(borrow, rename = "start-datetime")]
    pub(super) start: Cow<'a, str>,
    #[serde(borrow, rename = "end-datetime")]
    pub(super) end: Cow<'a, str>,
}

/// What it says of a policy.
#[derive(Debug, Deserialize)]
pub(super) struct Of<'a> {
    #[serde(borrow)]
    pub(super) policy: Policy<'a>,
    pub(super) summary: Summary,
    #[serde(borrow, default, rename = "failure-details")]
    pub(super) failures: Vec<Failure<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy<'a> {
    #[serde(borrow, rename = "policy-type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default, rename = "policy-string")]
    pub(super) lines: Lines<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    #[serde(rename = "total-successful-session-count", deserialize_with = "number")]
    pub(super) succeeded: u64,
    #[serde(rename = "total-failure-session-count", deserialize_with = "number")]
    pub(super) failed: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure<'a> {
    #[serde(borrow, rename = "result-type")]
    pub(super) result: Cow<'a, str>,
    #[serde(rename = "failed-session-count", deserialize_with = "number")]
    pub(super) sessions: u64,
}

/// Lines, as an array or in one string; null is none.
#[derive(Debug, Default)]
pub(super) struct Lines<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Lines<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Lines<'de>;
            fn expecting(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
                out.write_str("lines of a policy")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Lines(vec![text.into()]))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Lines(vec![text.to_owned().into()]))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Lines::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = seq.next_element::<Cow<'de, str>>()? {
                    if lines.len() < 64 {
                        lines.push(line);
                    }
                }
                Ok(Lines(lines))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Lines::default())
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A number of sessions; some write it as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Any;
    impl Visitor<'_> for Any {
        type Value = u64;
        fn expecting(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
            out.write_str("a number of sessions")
        }
        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            text.trim().parse().map_err(|_| E::custom("a number of sessions is none"))
        }
    }
    deserializer.deserialize_any(Any)
}
