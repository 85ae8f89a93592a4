//! Makes the file: names and lines for addresses, texts and functions by number, protobuf, gzip. On a thread of its own
//! (`elsewhere`), where malloc and locks of std do no harm.

use super::proto;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name and unit.
type ValueType = (&'static str, &'static str);

/// What a profile is made of.
pub(super) struct Input {
    /// What the values of a sample are.
    pub(super) values: &'static [ValueType],
    /// The one that viewers show first.
    pub(super) default: &'static str,
    pub(super) period: (ValueType, i64),
    pub(super) samples: Vec<Sample>,
    pub(super) comment: Option<String>,
}

pub(super) struct Sample {
    /// Addresses behind calls, innermost first.
    pub(super) stack: Vec<usize>,
    pub(super) values: Vec<i64>,
    pub(super) labels: Vec<(&'static str, Label)>,
}

pub(super) enum Label {
    Text(Cow<'static, str>),
    Bytes(i64),
}

impl Input {
    /// The file's content.
    pub(super) fn encode(self) -> io::Result<Vec<u8>> {
        let mut made = Made::default();
        made.text(""); // the first one
        made.profile.mapping = made.mappings();
        made.profile.sample_type = self.values.iter().map(|v| made.value_type(*v)).collect();
        made.profile.period_type = Some(made.value_type(self.period.0));
        made.profile.period = self.period.1;
        made.profile.default_sample_type = made.text(self.default);
        made.profile.comment = self.comment.iter().map(|text| made.text(text)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        made.profile.time_nanos = now.as_nanos() as i64;
        made.profile.sample = self.samples.iter().map(|sample| made.sample(sample)).collect();
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(&made.profile.encode_to_vec())?;
        out.finish()
    }
}

#[derive(Default)]
struct Made {
    profile: proto::Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    /// Number of a location, and whether it is the collector's own code only.
    locations: HashMap<usize, (u64, bool)>,
}

impl Made {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(at) = self.texts.get(text) {
            return *at;
        }
        let at = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), at);
        at
    }

    fn value_type(&mut self, (name, unit): ValueType) -> proto::ValueType {
        proto::ValueType { r#type: self.text(name), unit: self.text(unit) }
    }

    fn sample(&mut self, sample: &Sample) -> proto::Sample {
        let locations: Vec<(u64, bool)> = sample.stack.iter().map(|pc| self.location(*pc)).collect();
        // How the collector allocates is of no interest, unless nobody else does.
        let from = locations.iter().position(|(_, own)| !own).unwrap_or(0);
        let label = sample.labels.iter().map(|(key, value)| {
            let key = self.text(key);
            match value {
                Label::Text(text) => proto::Label { key, str: self.text(text), ..Default::default() },
                Label::Bytes(num) => {
                    proto::Label { key, num: *num, num_unit: self.text("bytes"), ..Default::default() }
                }
            }
        });
        proto::Sample {
            label: label.collect(),
            location_id: locations[from..].iter().map(|(id, _)| *id).collect(),
            value: sample.values.clone(),
        }
    }

    fn location(&mut self, pc: usize) -> (u64, bool) {
        if let Some(known) = self.locations.get(&pc) {
            return *known;
        }
        let mut line = Vec::new();
        let mut own = true;
        for frame in super::names::of(pc) {
            own = is_collector(&frame.function);
            let (name, file) = (self.text(&frame.function), self.text(&frame.file));
            line.push(proto::Line { function_id: self.function(name, file), line: i64::from(frame.line) });
        }
        let id = self.profile.location.len() as u64 + 1;
        // In the call, not behind it.
        let address = pc as u64 - 1;
        let mapping = self.profile.mapping.iter().find(|m| (m.memory_start..m.memory_limit).contains(&address));
        let mapping_id = mapping.map_or(0, |m| m.id);
        let known = (id, own && !line.is_empty());
        self.profile.location.push(proto::Location { id, mapping_id, address, line });
        self.locations.insert(pc, known);
        known
    }

    fn function(&mut self, name: i64, filename: i64) -> u64 {
        let functions = &mut self.profile.function;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            let id = functions.len() as u64 + 1;
            functions.push(proto::Function { id, name, system_name: name, filename });
            id
        })
    }

    /// The files that code is mapped from.
    fn mappings(&mut self) -> Vec<proto::Mapping> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut found = Vec::new();
        for line in maps.lines() {
            // start-end rights offset device inode path
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights), Some(offset)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let (Some((start, end)), Some(path)) = (range.split_once('-'), line.find('/').map(|at| &line[at..])) else {
                continue;
            };
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            if rights.contains('x') {
                found.push(proto::Mapping {
                    id: found.len() as u64 + 1,
                    memory_start: number(start),
                    memory_limit: number(end),
                    file_offset: number(offset),
                    filename: self.text(path),
                    has_functions: true,
                    has_filenames: true,
                    has_line_numbers: true,
                    has_inline_frames: true,
                });
            }
        }
        found
    }
}

/// Whether a function is on the way from `Gc::new` to the sample.
fn is_collector(function: &str) -> bool {
    let own = ["gc_core::", "tricolor::walk::", "tricolor::world::"];
    let name = function.trim_start_matches('<');
    own.iter().any(|prefix| name.starts_with(prefix)) || name.contains(" as gc_core::world::World>")
}
