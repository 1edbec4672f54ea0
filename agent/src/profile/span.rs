//! Durations in files: a number of seconds, or a text such as `15s`, `90m`, `24h`.

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;
use std::time::Duration;

/// Writes the duration as people write it.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(*duration))
}

/// Returns the shortest exact form in one unit: `24h`, `90m`, `15s`, `250ms`.
pub fn shown(duration: Duration) -> String {
    let (seconds, milliseconds) = (duration.as_secs(), duration.subsec_millis());
    if milliseconds != 0 {
        return format!("{}ms", duration.as_millis());
    }
    match seconds {
        0 => "0s".into(),
        whole if whole.is_multiple_of(3600) => format!("{}h", whole / 3600),
        whole if whole.is_multiple_of(60) => format!("{}m", whole / 60),
        other => format!("{other}s"),
    }
}

/// Reads a number of seconds or a text with a unit.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Span;
    impl Visitor<'_> for Span {
        type Value = Duration;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a duration such as \"15s\", \"90m\" or \"24h\", or a number of seconds")
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let span: jiff::SignedDuration =
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
            Duration::try_from(span).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Span)
}

/// The same for a duration that may be absent.
pub mod optional {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the duration as people write it, where there is one.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a number of seconds or a text with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Given(#[serde(with = "super")] Duration);
        Ok(Option::<Given>::deserialize(deserializer)?.map(|Given(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, serde::Serialize)]
    struct Holder {
        #[serde(with = "super")]
        span: Duration,
    }

    fn read(text: &str) -> Result<Duration, String> {
        toml::from_str::<Holder>(&format!("span = {text}")).map(|holder| holder.span).map_err(|error| error.to_string())
    }

    #[test]
    fn seconds_and_units_are_understood() {
        assert_eq!(read("15"), Ok(Duration::from_secs(15)));
        assert_eq!(read("\"24h\""), Ok(Duration::from_secs(86_400)));
        assert_eq!(read("\"90m\""), Ok(Duration::from_secs(5_400)));
        assert_eq!(read("\"250ms\""), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn nonsense_and_negative_times_are_refused_with_an_example() {
        for text in ["\"soon\"", "-1", "\"-5s\"", "true"] {
            assert!(read(text).is_err_and(|error| error.contains("such as \"15s\"")), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for duration in [0, 15, 90, 5_400, 86_400].map(Duration::from_secs) {
            assert_eq!(read(&format!("\"{}\"", shown(duration))), Ok(duration));
        }
    }
}
