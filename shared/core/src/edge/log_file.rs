//! CloudTrail's log files, a record at a time.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html>

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest record that is read, in bytes of JSON. CloudTrail's own end at 256 KB; a small compressed file can
/// unpack to whatever fills the memory.
pub const MAX_RECORD_BYTES: usize = 2 * 1024 * 1024;

/// Hands over a file's records one by one, so that memory does not grow with the file. No record is longer than
/// [`MAX_RECORD_BYTES`] or nested deeper than 127 levels, the file's own included.
pub fn read(reader: impl Read, each: &mut impl FnMut(Value)) -> Result<(), serde_json::Error> {
    let since_record = Cell::new(0);
    let bounded = Bounded { reader, since_record: &since_record };
    let mut input = serde_json::Deserializer::from_reader(BufReader::new(bounded));
    let mut each = |record| {
        since_record.set(0);
        each(record);
    };
    loop {
        Document(&mut each).deserialize(&mut input)?;
        // More than one value: a record a line.
        match input.end() {
            Ok(()) => return Ok(()),
            Err(error) if error.is_syntax() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Fails when too much comes without a whole record.
struct Bounded<'a, R> {
    reader: R,
    since_record: &'a Cell<usize>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.since_record.set(self.since_record.get() + read);
        if self.since_record.get() > MAX_RECORD_BYTES {
            return Err(io::Error::other(format!("a record of more than {MAX_RECORD_BYTES} bytes")));
        }
        Ok(read)
    }
}

/// `{"Records": [...]}`, or one record.
struct Document<'a, F>(&'a mut F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for Document<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Document<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with `Records`, or a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut record = Map::new();
        let mut is_log = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "Records" {
                map.next_value_seed(Records(&mut *self.0))?;
                is_log = true;
            } else if is_log {
                map.next_value::<IgnoredAny>()?;
            } else {
                record.insert(key, map.next_value()?);
            }
        }
        // As EventBridge delivers it.
        let record = match record.remove("detail") {
            Some(detail) => detail,
            None => Value::Object(record),
        };
        if !is_log && record.get("eventName").is_none() {
            return Err(A::Error::custom("neither `Records` nor `eventName`"));
        }
        if !is_log {
            (self.0)(record);
        }
        Ok(())
    }
}

struct Records<'a, F>(&'a mut F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for Records<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Records<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element()? {
            (self.0)(record);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{error::Category, json};

    use super::*;

    fn record(more: &str) -> Value {
        json!({"eventName": "PutBucketVersioning", "requestParameters": {"bucketName": "acme-data"}, "responseElements": more})
    }

    fn outcome(text: &str) -> (usize, Option<Category>) {
        let mut records = 0;
        let result = super::read(text.as_bytes(), &mut |_| records += 1);
        (records, result.err().map(|it| it.classify()))
    }

    #[test]
    fn records_come_in_a_log_or_a_line_each() {
        let record = record("");
        assert_eq!(outcome(&json!({"Records": [record, record]}).to_string()), (2, None));
        assert_eq!(outcome(&format!("{record}\n{record}\n\n{record}\n")), (3, None));
        assert_eq!(outcome(&json!({"version": "0", "detail": record}).to_string()), (1, None));
        assert_eq!(outcome(&json!({"Records": []}).to_string()), (0, None));
    }

    #[test]
    fn what_is_broken_is_told_after_what_is_whole() {
        let log = json!({"Records": [record(""), record("")]}).to_string();
        assert_eq!(outcome(&log[..log.len() - 5]), (1, Some(Category::Eof)));
        assert_eq!(outcome(""), (0, Some(Category::Eof)));
        assert_eq!(outcome("<html>"), (0, Some(Category::Syntax)));
        assert_eq!(outcome(&format!("{log}, garbage")), (2, Some(Category::Syntax)));
        for other in ["{}", "[]", "\"text\"", r#"{"Records": 7}"#, r#"{"logFiles": []}"#] {
            assert_eq!(outcome(other), (0, Some(Category::Data)), "{other}");
        }
    }

    #[test]
    fn a_record_that_does_not_end_is_refused_before_it_fills_the_memory() {
        let log = |record: &Value| json!({"Records": [record]}).to_string();
        let of_length = |bytes: usize| log(&record(&"x".repeat(bytes - log(&record("")).len())));
        assert_eq!(outcome(&of_length(MAX_RECORD_BYTES)), (1, None));
        // The two last bytes are the log's.
        assert_eq!(outcome(&of_length(MAX_RECORD_BYTES + 3)), (0, Some(Category::Io)));
        // Ten gigabytes, of which nobody sees the end.
        let endless = io::Cursor::new(r#"{"Records":[{"a":""#).chain(io::repeat(b'a').take(10 << 30));
        let mut records = 0;
        let error = super::read(endless, &mut |_| records += 1).unwrap_err();
        assert!(error.to_string().contains("a record of more than 2097152 bytes"), "{error}");
        // Many records are no long record, and nothing of a log but its records is kept.
        let many = format!(r#"{{"Records":[{}]}}"#, vec![record("").to_string(); 30_000].join(","));
        assert!(many.len() > MAX_RECORD_BYTES);
        assert_eq!(outcome(&many), (30_000, None));
        let nested = |depth: usize| format!(r#"{{"Records":[{{"a":{}{}}}]}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(outcome(&nested(124)), (1, None));
        assert_eq!(outcome(&nested(125)), (0, Some(Category::Syntax)));
        assert_eq!(outcome(&nested(1_000_000)), (0, Some(Category::Syntax)));
    }

    #[test]
    fn what_is_no_log_is_told_with_what_was_expected() {
        let told = |text: &str| super::read(text.as_bytes(), &mut |_| ()).unwrap_err().to_string();
        for (text, expected) in [
            ("[]", "invalid type: sequence, expected an object with `Records`, or a record"),
            (r#"{"Records": 7}"#, "invalid type: integer `7`, expected a list of records"),
            ("{}", "neither `Records` nor `eventName`"),
        ] {
            assert!(told(text).starts_with(expected), "{}", told(text));
        }
    }

    #[test]
    fn what_stands_beside_the_records_is_none() {
        let record = record("");
        let beside = json!({"eventName": "X", "Records": [record], "detail": record, "more": [1]});
        assert_eq!(outcome(&beside.to_string()), (1, None));
        let mut kept = Vec::new();
        super::read(json!({"version": "0", "detail": record}).to_string().as_bytes(), &mut |it| kept.push(it)).unwrap();
        assert_eq!(kept, [record], "as EventBridge delivers it");
    }

    #[test]
    fn a_file_that_cannot_be_read_on_is_not_at_its_end() {
        struct TornOnce(bool);
        impl Read for TornOnce {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) { Ok(0) } else { Err(io::Error::other("torn")) }
            }
        }
        let text = record("").to_string();
        let mut records = 0;
        let error = super::read(text.as_bytes().chain(TornOnce(false)), &mut |_| records += 1).unwrap_err();
        assert_eq!((records, error.classify()), (1, Category::Io));
    }
}
