//! Type descriptors: const data that `derive(Trace)` (or a compiler, through C) writes, and the bitmap that a heap
//! makes of one at first use.

use crate::offheap;
use core::ptr::NonNull;

/// What the words of a type are to the collector.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No pointers: never scanned.
    Data = 0,
    /// One word: null, or the base of an object.
    Pointer = 1,
    /// The parts say it: see [`TypeDesc::fields`].
    Struct = 2,
    /// Every aligned word may or may not be a pointer (enum payloads, foreign types): goes through the
    /// conservative look-up.
    Conservative = 3,
}

/// `count` values of type `desc`, one after the other, from `offset` on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Field {
    /// Bytes from the start of the struct.
    pub offset: usize,
    /// The type of each element.
    pub desc: &'static TypeDesc,
    /// How many (arrays).
    pub count: usize,
}

/// Drops the value at this address. A panic may unwind out of it.
pub type DropFn = unsafe extern "C-unwind" fn(*mut ());

/// # Safety
/// `value` points to a `T` that nobody else uses, now or later.
unsafe extern "C-unwind" fn drop_value<T>(value: *mut ()) {
    // SAFETY: the caller's contract.
    unsafe { value.cast::<T>().drop_in_place() }
}

/// How a `T` is dropped; `None` if it need not be.
const fn drop_of<T>() -> Option<DropFn> {
    if core::mem::needs_drop::<T>() { Some(drop_value::<T>) } else { None }
}

/// Describes one type to the collector. Plain const data with a C layout.
///
/// Two descriptors of one type (two copies of the same constant) are allowed; they only cost a span each.
#[repr(C)]
pub struct TypeDesc {
    /// Size in bytes.
    pub size: usize,
    /// Alignment in bytes, a power of two.
    pub align: usize,
    /// What the words are.
    pub kind: Kind,
    /// The parts of a [`Kind::Struct`]; parts without pointers may be left out.
    pub fields: &'static [Field],
    /// How a dead object is dropped; `None`: it is not. Runs on any thread that holds a P, and must not touch another
    /// object of the heap: that may be gone already.
    pub drop: Option<DropFn>,
    /// For people: dumps, census, errors.
    pub name: &'static str,
}

impl TypeDesc {
    /// A type without pointers.
    pub const fn data<T>(name: &'static str) -> TypeDesc {
        TypeDesc {
            size: size_of::<T>(),
            align: align_of::<T>(),
            kind: Kind::Data,
            fields: &[],
            drop: drop_of::<T>(),
            name,
        }
    }

    /// A type any of whose words may be a pointer.
    pub const fn conservative<T>(name: &'static str) -> TypeDesc {
        TypeDesc {
            size: size_of::<T>(),
            align: align_of::<T>(),
            kind: Kind::Conservative,
            fields: &[],
            drop: drop_of::<T>(),
            name,
        }
    }

    /// A struct with these parts.
    pub const fn of_fields<T>(name: &'static str, fields: &'static [Field]) -> TypeDesc {
        let mut kind = Kind::Data;
        let mut i = 0;
        while i < fields.len() {
            if fields[i].desc.has_pointers() && fields[i].count > 0 {
                kind = Kind::Struct;
            }
            i += 1;
        }
        TypeDesc { size: size_of::<T>(), align: align_of::<T>(), kind, fields, drop: drop_of::<T>(), name }
    }

    /// An enum with these payload types: pointers in one variant may be data in another, so its words are ambiguous.
    pub const fn of_enum<T>(name: &'static str, payload: &[&'static TypeDesc]) -> TypeDesc {
        let mut i = 0;
        while i < payload.len() {
            if payload[i].has_pointers() {
                return TypeDesc::conservative::<T>(name);
            }
            i += 1;
        }
        TypeDesc::data::<T>(name)
    }

    /// The rule of drop, for a derived description of a type that has a `Drop` impl of its own (`has_impl`).
    ///
    /// # Panics
    /// At compile time: with `with_pointers` if a field may hold a `Gc`, with `not_send` if the type is not `Send`.
    #[doc(hidden)]
    pub const fn checked_drop(self, has_impl: bool, send: bool, with_pointers: &str, not_send: &str) -> TypeDesc {
        assert!(!has_impl || !self.has_pointers(), "{}", with_pointers);
        assert!(!has_impl || send, "{}", not_send);
        self
    }

    /// Whether the collector has to look inside.
    pub const fn has_pointers(&self) -> bool {
        !matches!(self.kind, Kind::Data)
    }

    /// Refuses what no type can be, before anything relies on it: the derive writes none of these, a compiler may.
    ///
    /// # Panics
    /// With the type's name and what is wrong: the alignment, the size, or a part that does not fit.
    fn check(&self) {
        let TypeDesc { name, size, align, .. } = *self;
        assert!(
            align.is_power_of_two() && align <= 4096,
            "descriptor of `{name}`: an alignment of {align} is not a power of two up to 4096"
        );
        assert!(
            size.is_multiple_of(align) && size <= isize::MAX as usize,
            "descriptor of `{name}`: a size of {size} bytes is not a multiple of the alignment, {align}, that memory can hold"
        );
        assert!(
            self.kind != Kind::Pointer || size == size_of::<usize>(),
            "descriptor of `{name}`: a pointer of {size} bytes is not a word"
        );
        if self.kind != Kind::Struct {
            return;
        }
        for Field { offset, desc, count } in self.fields {
            let end = desc.size.checked_mul(*count).and_then(|bytes| bytes.checked_add(*offset));
            assert!(
                end.is_some_and(|end| end <= size),
                "descriptor of `{name}`: {count} of `{}` from byte {offset} on do not fit into {size} bytes",
                desc.name
            );
            desc.check();
        }
    }

    /// Calls `f(offset, ambiguous)` for each word that is or may be a pointer.
    pub fn each_word(&self, at: usize, f: &mut dyn FnMut(usize, bool)) {
        match self.kind {
            Kind::Data => {}
            Kind::Pointer => f(at, false),
            Kind::Conservative => {
                let first = at.next_multiple_of(size_of::<usize>());
                for o in (first..).step_by(size_of::<usize>()).take_while(|o| o + size_of::<usize>() <= at + self.size)
                {
                    f(o, true);
                }
            }
            Kind::Struct => {
                for field in self.fields {
                    for i in 0..field.count {
                        field.desc.each_word(at + field.offset + i * field.desc.size, f);
                    }
                }
            }
        }
    }
}

/// A descriptor flattened: for each word of the type, whether it is a pointer and whether it is ambiguous.
/// Off heap and never freed, so a `Copy` view.
#[derive(Clone, Copy)]
pub struct Mask {
    /// Words up to and including the last one that can be a pointer.
    pub words: u32,
    /// Words of the type: the stride in arrays.
    pub stride: u32,
    /// One bit for each word that is a pointer, if that says all: no word is ambiguous, and none of the pointers lies
    /// behind the first 64 words. Else 0.
    pub pointers: u64,
    pub(crate) bits: NonNull<u64>,
}

impl Mask {
    /// Two bits for each word: 0 data, 1 pointer, 2 ambiguous.
    pub(crate) const PER_WORD: usize = u64::BITS as usize / 2;

    /// Flattens `desc`.
    ///
    /// # Panics
    /// If a field lies outside its type or is not aligned, or sizes, alignments or counts make no sense: a wrong
    /// descriptor. The message names it.
    pub fn flatten(desc: &'static TypeDesc) -> Mask {
        desc.check();
        let stride = desc.size.div_ceil(size_of::<usize>());
        let groups = stride.div_ceil(Self::PER_WORD).max(1);
        let bits = offheap::persistent_words(groups);
        let (mut words, mut pointers, mut says_all) = (0, 0, true);
        desc.each_word(0, &mut |offset, ambiguous| {
            let word = offset / size_of::<usize>();
            assert!(
                offset % size_of::<usize>() == 0 && word < stride,
                "descriptor of `{}`: a pointer at byte {offset} of {} does not fit",
                desc.name,
                desc.size
            );
            words = words.max(word + 1);
            if ambiguous || word >= u64::BITS as usize {
                says_all = false;
            } else {
                pointers |= 1 << word;
            }
            let code = if ambiguous { 2 } else { 1 };
            // SAFETY: `word < stride`, so the group is one of those just allocated; nobody else sees them yet.
            unsafe { *bits.as_ptr().add(word / Self::PER_WORD) |= code << (word % Self::PER_WORD * 2) };
        });
        Mask { words: words as u32, stride: stride as u32, pointers: if says_all { pointers } else { 0 }, bits }
    }

    /// Whether every word is a pointer, so that an array of these is a run of pointers.
    #[inline]
    pub(crate) fn all_pointers(&self) -> bool {
        self.stride > 0 && self.stride <= u64::BITS && self.pointers == u64::MAX >> (u64::BITS - self.stride)
    }

    /// The codes of words `32 * group ..`, two bits each.
    #[inline(always)]
    pub(crate) fn group(&self, group: usize) -> u64 {
        debug_assert!(group * Self::PER_WORD < self.stride.max(1) as usize);
        // SAFETY: `flatten` allocated one group for every 32 words of the stride; never freed.
        unsafe { *self.bits.as_ptr().add(group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(not(modelled))]
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    /// A type, as a tree, and the codes of its words, written down by another rule than flattening.
    #[cfg(not(modelled))]
    #[derive(Clone, Debug)]
    enum Shape {
        Data(usize),
        Pointer,
        Conservative(usize),
        /// Fields in order, each an array of so many, with a gap of some words behind it.
        Struct(Vec<(Shape, usize, usize)>),
    }

    #[cfg(not(modelled))]
    impl Shape {
        fn codes(&self) -> Vec<u8> {
            match self {
                Shape::Data(words) => vec![0; *words],
                Shape::Pointer => vec![1],
                Shape::Conservative(words) => vec![2; *words],
                Shape::Struct(fields) => {
                    fields.iter().flat_map(|(f, n, gap)| [f.codes().repeat(*n), vec![0; *gap]].concat()).collect()
                }
            }
        }

        fn desc(&self) -> &'static TypeDesc {
            let mut fields = Vec::new();
            let kind = match self {
                Shape::Data(_) => Kind::Data,
                Shape::Pointer => Kind::Pointer,
                Shape::Conservative(_) => Kind::Conservative,
                Shape::Struct(parts) => {
                    let mut offset = 0;
                    for (part, count, gap) in parts {
                        fields.push(Field { offset, desc: part.desc(), count: *count });
                        offset += (part.codes().len() * count + gap) * size_of::<usize>();
                    }
                    Kind::Struct
                }
            };
            let size = self.codes().len() * size_of::<usize>();
            let align = align_of::<usize>();
            Box::leak(Box::new(TypeDesc { size, align, kind, fields: fields.leak(), drop: None, name: "shape" }))
        }
    }

    #[cfg(not(modelled))]
    fn shape() -> impl Strategy<Value = Shape> {
        let leaf = prop_oneof![
            (0..4_usize).prop_map(Shape::Data),
            Just(Shape::Pointer),
            (0..4_usize).prop_map(Shape::Conservative),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop::collection::vec((inner, 0..4_usize, 0..3_usize), 0..5).prop_map(Shape::Struct)
        })
    }

    #[cfg(not(modelled))]
    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn flattening_agrees_with_a_list_of_words(shape in shape(), at_a_time in 1..70_usize) {
            let (codes, mask) = (shape.codes(), Mask::flatten(shape.desc()));
            let code = |w: usize| (mask.group(w / Mask::PER_WORD) >> (w % Mask::PER_WORD * 2) & 3) as u8;
            prop_assert_eq!(mask.stride as usize, codes.len());
            prop_assert_eq!((0..codes.len()).map(code).collect::<Vec<_>>(), codes.clone());
            prop_assert_eq!(mask.words as usize, codes.iter().rposition(|c| *c != 0).map_or(0, |w| w + 1));
            let compact = codes.iter().enumerate().all(|(w, c)| *c == 0 || (*c == 1 && w < 64));
            let expected = codes.iter().take(64).rev().fold(0, |bits, c| bits << 1 | u64::from(*c == 1));
            prop_assert_eq!(mask.pointers, if compact { expected } else { 0 });
            let all = (1..=64).contains(&codes.len()) && codes.iter().all(|c| *c == 1);
            prop_assert_eq!(mask.all_pointers(), all);
            // An array of it, as a struct whose one field it is.
            let array = Shape::Struct(vec![(shape, at_a_time, 0)]);
            prop_assert_eq!(Mask::flatten(array.desc()).stride as usize, codes.len() * at_a_time);
        }

        #[test]
        fn a_pointer_that_does_not_fit_is_refused(words in 0..40_usize, at in any::<bool>(), by in 1..9_usize) {
            // Behind the last word, or across two words.
            let offset = if at { words * 8 + (by - 1) * 8 } else { (words.max(1) - 1) * 8 + by % 8 };
            let fields = vec![Field { offset, desc: &PTR, count: 1 }].leak();
            let desc = Box::leak(Box::new(TypeDesc { size: words * 8, align: 8, kind: Kind::Struct, fields, drop: None, name: "Bad" }));
            let fits = offset.is_multiple_of(8) && offset + 8 <= words * 8;
            let refused = std::panic::catch_unwind(|| Mask::flatten(desc)).is_err();
            prop_assert_eq!(refused, !fits);
        }
    }

    static PTR: TypeDesc = TypeDesc { size: 8, align: 8, kind: Kind::Pointer, fields: &[], drop: None, name: "ptr" };
    static NUM: TypeDesc = TypeDesc::data::<u64>("u64");

    #[test]
    fn flattening_finds_each_pointer_once() {
        static DESC: TypeDesc = TypeDesc {
            size: 8 * 70,
            align: 8,
            kind: Kind::Struct,
            fields: &[
                Field { offset: 0, desc: &NUM, count: 1 },
                Field { offset: 8, desc: &PTR, count: 2 },
                Field { offset: 8 * 40, desc: &PTR, count: 1 },
            ],
            drop: None,
            name: "S",
        };
        let mask = Mask::flatten(&DESC);
        assert_eq!((mask.words, mask.stride), (41, 70));
        assert_eq!(mask.group(0), 0b01_01_00);
        assert_eq!(mask.group(1), 1 << (8 * 2));
        assert_eq!(mask.group(2), 0);
        // Word 40 is within reach; nothing is ambiguous.
        assert_eq!(mask.pointers, 0b110 | 1 << 40);
        assert!(!mask.all_pointers());
    }

    #[test]
    fn the_compact_form_says_all_or_nothing() {
        static WORD: TypeDesc =
            TypeDesc { size: 8, align: 8, kind: Kind::Conservative, fields: &[], drop: None, name: "word" };
        static MIXED: TypeDesc = TypeDesc {
            size: 16,
            align: 8,
            kind: Kind::Struct,
            fields: &[Field { offset: 0, desc: &PTR, count: 1 }, Field { offset: 8, desc: &WORD, count: 1 }],
            drop: None,
            name: "Mixed",
        };
        const fn run(count: usize, fields: &'static [Field]) -> TypeDesc {
            TypeDesc { size: 8 * count, align: 8, kind: Kind::Struct, fields, drop: None, name: "Run" }
        }
        static FITS: TypeDesc = run(64, &[Field { offset: 0, desc: &PTR, count: 64 }]);
        static TOO_LONG: TypeDesc = run(65, &[Field { offset: 0, desc: &PTR, count: 65 }]);
        assert_eq!(Mask::flatten(&MIXED).pointers, 0);
        assert_eq!(Mask::flatten(&FITS).pointers, u64::MAX);
        assert!(Mask::flatten(&FITS).all_pointers() && Mask::flatten(&PTR).all_pointers());
        assert_eq!(Mask::flatten(&TOO_LONG).pointers, 0);
        assert!(!Mask::flatten(&TOO_LONG).all_pointers());
    }

    #[test]
    #[should_panic(expected = "descriptor of `Bad`: 1 of `ptr` from byte 8 on do not fit into 8 bytes")]
    fn a_field_outside_its_type_is_refused() {
        static BAD: TypeDesc = TypeDesc {
            size: 8,
            align: 8,
            kind: Kind::Struct,
            fields: &[Field { offset: 8, desc: &PTR, count: 1 }],
            drop: None,
            name: "Bad",
        };
        Mask::flatten(&BAD);
    }

    #[test]
    fn what_no_type_can_be_is_refused_by_name() {
        const WORD: TypeDesc = TypeDesc { size: 8, align: 8, kind: Kind::Data, fields: &[], drop: None, name: "Bad" };
        const fn holds(fields: &'static [Field]) -> TypeDesc {
            TypeDesc { size: 64, kind: Kind::Struct, fields, ..WORD }
        }
        static HUGE: TypeDesc = TypeDesc { size: 1 << 62, ..WORD };
        static LATE: TypeDesc = holds(&[Field { offset: usize::MAX - 7, desc: &PTR, count: 1 }]);
        static CASES: [(TypeDesc, &str); 8] = [
            (TypeDesc { align: 0, ..WORD }, "an alignment of 0"),
            (TypeDesc { align: 24, size: 24, ..WORD }, "an alignment of 24"),
            (TypeDesc { align: 8192, size: 8192, ..WORD }, "an alignment of 8192"),
            (TypeDesc { size: 12, ..WORD }, "a size of 12 bytes"),
            (TypeDesc { size: usize::MAX - 7, ..WORD }, "a size of 18446744073709551608 bytes"),
            (TypeDesc { size: 16, kind: Kind::Pointer, ..WORD }, "a pointer of 16 bytes"),
            // Bytes of an array that are more than can be counted, and come to a small number.
            (
                holds(&[Field { offset: 8, desc: &HUGE, count: 4 }]),
                "4 of `Bad` from byte 8 on do not fit into 64 bytes",
            ),
            // A part of a part, whose address would come round to the start.
            (holds(&[Field { offset: 8, desc: &LATE, count: 0 }]), "from byte 18446744073709551608 on do not fit"),
        ];
        for (desc, message) in &CASES {
            let refusal = std::panic::catch_unwind(|| _ = Mask::flatten(desc)).expect_err(message);
            let said = refusal.downcast_ref::<String>().expect("a formatted message");
            assert!(said.starts_with("descriptor of `Bad`: ") && said.contains(message), "{said} for {message}");
        }
    }
}
